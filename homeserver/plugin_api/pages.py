"""Web pages for people: one plain look for every page of the server and its plugins, on phones and at night too.
Nothing is loaded from elsewhere, no script runs, and no other site may frame a page.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse

_STYLE = """\
:root{color-scheme:light dark;--ink:#1b1d22;--dim:#5c6370;--paper:#fff;--ground:#f2f4f7;--line:#d5dae1;--accent:#0b6e5f}
@media(prefers-color-scheme:dark){:root{--ink:#eceef2;--dim:#a3abb8;--paper:#20242b;--ground:#15181d;--line:#3a414c;--accent:#4fd1b8}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--ground);color:var(--ink);\
font:1rem/1.5 system-ui,sans-serif}
main{width:100%;max-width:26rem;background:var(--paper);\
border:1px solid var(--line);border-radius:.75rem;padding:1.5rem}
h1{font-size:1.3rem;margin:0 0 .75rem}
p{margin:.5rem 0;overflow-wrap:anywhere}
.dim{color:var(--dim);font-size:.9rem}
.wrong{border-left:.25rem solid #c0392b;padding-left:.6rem}
label{display:block;margin:1rem 0 .25rem;font-weight:600}
.field{display:flex;align-items:center;border:1px solid var(--line);border-radius:.5rem;overflow:hidden}
.field span{padding:0 .6rem;color:var(--dim)}
input{flex:1;min-width:0;font:inherit;color:inherit;background:transparent;border:0;padding:.7rem .2rem}
.field:focus-within,a.button:focus-visible,button:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
button,a.button{display:block;width:100%;margin-top:1rem;padding:.75rem;border:0;border-radius:.5rem;\
background:var(--accent);color:var(--paper);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def page(
    title: str, body: str, status: int = 200, *, form_action: str | None = None, more_style: str = ""
) -> HTMLResponse:
    """A whole page. `title` is plain text; `body` is HTML whose variable parts the caller has escaped.

    With `form_action`, the sources its forms may lead to (`'self'` ...), redirects included; such a page must keep its
    style out of attributes, as only the style sheet itself is let through.
    """
    style = _STYLE + more_style
    headers = dict(_HEADERS)
    if form_action is not None:
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
        headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action {form_action}; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style>"
    )
    text = (
        f'<!doctype html><html lang="en"><head>{head}</head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return HTMLResponse(text, status, headers=headers)


def error_page(sentence: str, status: int = 400) -> HTMLResponse:
    """A page that says what went wrong, in one plain sentence."""
    return page("That did not work", f'<p class="wrong">{escape(sentence)}</p>', status)
