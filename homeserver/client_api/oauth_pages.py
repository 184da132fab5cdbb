"""How the pages of the OAuth 2.0 login and of the account look: HTML from plain values, everything escaped.

Spec: client-server-api #oauth-20-api
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from starlette.responses import HTMLResponse

from homeserver.plugin_api.pages import page
from homeserver.plugin_api.sso import SsoProvider
from homeserver.services.accounts.auth_stages import REGISTRATION_TOKEN, TERMS

_SOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//[A-Za-z0-9._:\[\]-]+)?")
_STYLE = """\
button.quiet,a.quiet{background:transparent;color:var(--accent);border:1px solid var(--line)}
button.danger{background:#c0392b;color:#fff}
.check{display:flex;gap:.6rem;align-items:flex-start;font-weight:400}
.check input{flex:none;width:1.2rem;height:1.2rem;margin-top:.15rem}
ul{list-style:none;margin:1rem 0;padding:0}
li{border-top:1px solid var(--line)}
li a{display:block;padding:.75rem 0;color:inherit;text-decoration:none;overflow-wrap:anywhere}
li a:focus-visible{outline:2px solid var(--accent)}
li small,dt{color:var(--dim);font-size:.9rem}
dl{margin:1rem 0}dd{margin:0 0 .6rem;overflow-wrap:anywhere}
.code{font-size:1.5rem;letter-spacing:.15em;text-align:center;text-transform:uppercase}
.right{border-left:.25rem solid var(--accent);padding-left:.6rem}
a{color:var(--accent)}a.button{color:var(--paper)}a.quiet{color:var(--accent)}
"""


def show(title: str, *parts: str, status: int = 200, leads_to: str = "") -> HTMLResponse:
    """A page. `leads_to`: where its form may redirect besides this server, a scheme or an origin."""
    allowed = leads_to if _SOURCE.fullmatch(leads_to) else ""
    return page(title, "".join(parts), status, form_action=f"'self' {allowed}".strip(), more_style=_STYLE)


def wrong(sentence: str | None) -> str:
    return "" if sentence is None else f'<p class="wrong" role="alert">{escape(sentence)}</p>'


def done(sentence: str | None) -> str:
    return "" if sentence is None else f'<p class="right" role="status">{escape(sentence)}</p>'


def paragraph(text: str, *, dim: bool = False) -> str:
    return f'<p class="dim">{escape(text)}</p>' if dim else f"<p>{escape(text)}</p>"


def form(url: str, csrf: str, /, *parts: str, **hidden: str) -> str:
    """A form sent to `url`, with the CSRF token and hidden fields."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in {"csrf": csrf, **hidden}.items()
    )
    return f'<form method="post" action="{escape(url)}">{fields}{"".join(parts)}</form>'


def button(text: str, *, name: str = "", value: str = "", kind: str = "") -> str:
    named = f' name="{escape(name)}" value="{escape(value)}"' if name else ""
    styled = f' class="{kind}"' if kind else ""
    return f"<button{named}{styled}>{escape(text)}</button>"


def link_button(text: str, url: str, *, quiet: bool = False) -> str:
    return f'<a class="button{" quiet" if quiet else ""}" href="{escape(url)}">{escape(text)}</a>'


def text_field(
    label: str, name: str, value: str = "", *, more: str = "required", before: str = "", after: str = ""
) -> str:
    around = [f"<span>{escape(text)}</span>" if text else "<span></span>" for text in (before, after)]
    return (
        f'<label for="{name}">{escape(label)}</label><div class="field">{around[0]}'
        f'<input id="{name}" name="{name}" value="{escape(value)}" {more}>{around[1]}</div>'
    )


def username_field(server_name: str, value: str, *, fixed: bool = False) -> str:
    more = "readonly" if fixed else "required autofocus"
    more += ' autocapitalize="none" autocomplete="username" spellcheck="false" maxlength="255"'
    return text_field("User name", "username", value, more=more, before="@", after=f":{server_name}")


def password_field(label: str, name: str, *, new: bool) -> str:
    kind = "new-password" if new else "current-password"
    return text_field(label, name, more=f'type="password" required autocomplete="{kind}" maxlength="512"')


def check_box(name: str, html: str, *, required: bool = False) -> str:
    needed = " required" if required else ""
    return f'<label class="check"><input type="checkbox" name="{name}" value="yes"{needed}><span>{html}</span></label>'


def facts(pairs: Iterable[tuple[str, str | None]]) -> str:
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs if value)
    return f"<dl>{shown}</dl>"


def links(entries: Iterable[tuple[str, str, str]]) -> str:
    """A list of links: text, what is said below it, URL."""
    return (
        "<ul>"
        + "".join(
            f'<li><a href="{escape(url)}">{escape(text)}<br><small>{escape(below)}</small></a></li>'
            for text, below, url in entries
        )
        + "</ul>"
    )


def stage_fields(stages: Sequence[str], terms_url: str | None) -> str:
    """The fields of those stages of a sign-up that the form itself completes."""
    fields = ""
    if REGISTRATION_TOKEN in stages:
        fields += text_field("Registration token", "token", more='required autocomplete="off" autocapitalize="none"')
    if TERMS in stages and terms_url is not None:
        link = f'<a href="{escape(terms_url)}" target="_blank" rel="noopener">terms of service</a>'
        fields += check_box("terms", f"I agree to the {link}.", required=True)
    return fields


def provider_buttons(providers: Sequence[SsoProvider], url_of: dict[str, str]) -> str:
    """Log in elsewhere: one button for each identity provider."""
    return "".join(link_button(f"Continue with {one.name}", url_of[one.provider_id], quiet=True) for one in providers)
