"""What is read of web pages: OpenGraph and what stands in for it, odd encodings, pages made to be slow."""

from __future__ import annotations

import time

import pytest

from homeserver.services.media.page_metadata import PAGE_BYTES, PageMetadata, read_page

URL = "https://example.com/folder/page.html"


def page(html: str, content_type: str = "text/html; charset=utf-8") -> PageMetadata:
    return read_page(html.encode(), content_type, URL)


def test_open_graph() -> None:
    found = page("""<html><head>
        <meta property="og:title" content=" A &amp; B
           C "><meta property="og:title" content="second">
        <meta name="og:description" content="described"><meta property="OG:Site_Name" content="Site">
        <meta property="og:image" content="../picture.png"><meta property="og:image:width" content="9">
        <meta property="og:image:secure_url" content="https://other.example/x.png">
        <meta property="og:empty" content=""><meta property="article:author" content="who">
        <title>ignored</title></head>""")
    assert found.properties == {"og:title": "A & B C", "og:description": "described", "og:site_name": "Site"}
    assert found.image_url == "https://example.com/picture.png"


def test_pages_without_open_graph() -> None:
    found = page("""<title>The <b>title</b></title><meta name=description content="In short">
        <link rel="image_src" href="//cdn.example/p.jpg"><p>long""")
    assert found.properties == {"og:title": "The <b>title</b>", "og:description": "In short"}
    assert found.image_url == "https://cdn.example/p.jpg"
    bare = page("<h1>Heading</h1><script>var p = '<p>no</p>'</script><p>First   paragraph</p><p>second</p>")
    assert bare.properties == {"og:title": "Heading", "og:description": "First paragraph"}
    assert page("").properties == {}


def test_twitter_cards() -> None:
    found = page(
        """<meta name="twitter:title" content="T"><meta name="twitter:image" content="https://t.example/a.png">"""
    )
    assert (found.properties, found.image_url) == ({"og:title": "T"}, "https://t.example/a.png")


@pytest.mark.parametrize("image", ["data:image/png;base64,AAAA", "javascript:alert(1)", "ftp://a/b", "http://[", ""])
def test_pictures_that_are_no_web_address(image: str) -> None:
    assert page(f'<meta property="og:image" content="{image}">').image_url is None


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        ("<title>Größe</title>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("<meta charset='windows-1252'><title>Größe</title>".encode("cp1252"), "text/html"),
        ("\ufeff<title>Größe</title>".encode(), "text/html"),
        ("<title>Größe</title>".encode(), "text/html; charset=punycode"),
        ("<title>Größe</title>".encode("utf-16"), 'text/html; charset="utf-16"'),
    ],
)
def test_encodings(data: bytes, content_type: str) -> None:
    assert read_page(data, content_type, URL).properties == {"og:title": "Größe"}


def test_bytes_that_are_no_text() -> None:
    assert read_page(b"<title>a\xff\x00\x01b</title>", "text/html", URL).properties["og:title"].startswith("a")


def test_values_are_bounded() -> None:
    many = "".join(f'<meta property="og:k{number}" content="{"v" * 5_000}">' for number in range(200))
    properties = page(many).properties
    assert len(properties) <= 50
    assert max(map(len, properties.values())) <= 1_000


@pytest.mark.parametrize(
    "piece", ['<a b="', "<!--", "<a", "<p>", "</", "&#", "<div>", "<table>", "<b><font>", "<title>", "<meta charset="]
)
def test_pages_made_to_be_slow(piece: str) -> None:
    started = time.process_time()
    read_page((piece * (PAGE_BYTES // len(piece)))[:PAGE_BYTES].encode(), "text/html", URL)
    assert time.process_time() - started < 4
