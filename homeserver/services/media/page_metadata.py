"""What a web page says of itself: OpenGraph, and where it has none, its title, description and picture.

The parser is lexbor, because the standard library's takes minutes for some pages of 128 kB made to be slow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from selectolax.lexbor import LexborHTMLParser, LexborNode

PAGE_BYTES = 131_072
"""How much of a page is read; what it says of itself stands at the top."""

_MOST_KEYS = 50
_LONGEST_KEY = 100
_LONGEST_VALUE = 1_000
_SPACE = re.compile(r"\s+")
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_CODECS = re.compile(
    r"utf-?8|utf-16(le|be)?|us-ascii|ascii|latin-?1|(iso|windows)-[0-9-]+|koi8-[ru]|shift_jis|euc-(jp|kr)|gbk|gb2312"
    r"|gb18030|big5|iso-2022-jp",
    re.IGNORECASE,
)
_FALLBACKS = {
    "og:title": ("twitter:title", "dc.title"),
    "og:description": ("twitter:description", "description"),
    "og:image": ("og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"),
}


@dataclass(frozen=True, slots=True)
class PageMetadata:
    """OpenGraph keys and values of a page, and the absolute address of its picture, if it names one."""

    properties: dict[str, str]
    image_url: str | None


def read_page(page: bytes, content_type: str, url: str) -> PageMetadata:
    """What the (beginning of the) page at `url` says of itself."""
    tree = LexborHTMLParser(_decoded(page, content_type))
    named = _meta_values(tree)
    properties = {key: value for key, value in named.items() if key.startswith("og:") and not _is_image(key)}
    title = _first(named, "og:title") or _text_of(tree, "title") or _text_of(tree, "h1")
    description = _first(named, "og:description") or _text_of(tree, "main p, article p, p")
    properties |= {"og:title": title} if title else {}
    properties |= {"og:description": description} if description else {}
    image = _first(named, "og:image") or _attribute(tree, 'link[rel="image_src"]', "href")
    return PageMetadata(properties, _absolute(image, url))


def _is_image(key: str) -> bool:
    """Pictures are served by this server, never linked: the other one would see who looks."""
    return key == "og:image" or key.startswith("og:image:")


def _decoded(page: bytes, content_type: str) -> str:
    for charset in (_find(_HEADER_CHARSET, content_type), _find_bytes(_CHARSET, page[:2048])):
        if charset is not None and _CODECS.fullmatch(charset):
            try:
                return page.decode(charset, "replace")
            except LookupError:
                continue
    return page.decode("utf-8-sig", "replace")


def _find(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[1] if match else None


def _find_bytes(pattern: re.Pattern[bytes], text: bytes) -> str | None:
    match = pattern.search(text)
    return match[1].decode("ascii") if match else None


def _meta_values(tree: LexborHTMLParser) -> dict[str, str]:
    """The first value of each `<meta>` name, keys in lower case."""
    values: dict[str, str] = {}
    for node in tree.css("meta[content]"):
        key = (node.attributes.get("property") or node.attributes.get("name") or "").strip().lower()
        value = _clean(node.attributes.get("content"))
        if key and value and len(key) <= _LONGEST_KEY and len(values) < _MOST_KEYS:
            values.setdefault(key, value)
    return values


def _first(named: dict[str, str], key: str) -> str | None:
    return next((named[name] for name in (key, *_FALLBACKS[key]) if name in named), None)


def _text_of(tree: LexborHTMLParser, selector: str) -> str:
    node: LexborNode | None = tree.css_first(selector)
    return "" if node is None else _clean(node.text(deep=True))


def _attribute(tree: LexborHTMLParser, selector: str, name: str) -> str | None:
    node: LexborNode | None = tree.css_first(selector)
    return None if node is None else node.attributes.get(name)


def _clean(text: str | None) -> str:
    shortened = _SPACE.sub(" ", _NOT_TEXT.sub("", (text or "")[: 4 * _LONGEST_VALUE])).strip()
    return shortened[:_LONGEST_VALUE]


def _absolute(image: str | None, url: str) -> str | None:
    if not image:
        return None
    try:
        absolute = urljoin(url, image.strip())
    except ValueError:
        return None
    return absolute if absolute.startswith(("http://", "https://")) else None
