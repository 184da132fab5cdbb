"""The web page on which people log in whose client knows none of this server's ways to do so.

Spec: client-server-api #login-fallback
"""

from __future__ import annotations

import base64
import hashlib

from starlette.responses import HTMLResponse

from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

_STYLE = """
:root { color-scheme: light dark; --line: #8886 }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 24rem; margin: 12vh auto; padding: 0 1.2rem }
h1 { font-size: 1.5rem }
label { display: block; margin: .8rem 0 }
input, button, a.button { box-sizing: border-box; display: block; width: 100%; font: inherit; padding: .6rem .8rem;
  border: 1px solid var(--line); border-radius: .5rem; margin: .3rem 0; text-align: center; text-decoration: none }
input { text-align: left }
button { background: #0b6bcb; color: #fff; border: 0; cursor: pointer }
a.button { color: inherit }
[role=alert] { color: #c0392b }
[hidden] { display: none }
"""
_SCRIPT = """
const base = "/_matrix/client/v3/login";
const params = new URLSearchParams(location.search);
const alertBox = document.getElementById("alert");
const given = {};
for (const [name, value] of params) if (name !== "loginToken") given[name] = value;
const say = (text) => { alertBox.textContent = text; alertBox.hidden = !text; };
async function logIn(body) {
  say("");
  const answer = await fetch(base, { method: "POST", body: JSON.stringify({ ...given, ...body }) });
  const response = await answer.json();
  if (!answer.ok) { say(response.error || "That did not work."); return; }
  document.getElementById("ways").hidden = true;
  document.getElementById("done").hidden = false;
  if (window.matrixLogin && window.matrixLogin.onLogin) window.matrixLogin.onLogin(response);
}
document.getElementById("password").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  logIn({ type: "m.login.password", identifier: { type: "m.id.user", user: form.user.value },
          password: form.password.value });
});
async function show() {
  const { flows } = await (await fetch(base)).json();
  document.getElementById("password").hidden = !flows.some((flow) => flow.type === "m.login.password");
  const back = encodeURIComponent(location.origin + location.pathname + (given.device_id
    ? "?device_id=" + encodeURIComponent(given.device_id) : ""));
  for (const flow of flows.filter((one) => one.type === "m.login.sso")) {
    const providers = flow.identity_providers && flow.identity_providers.length
      ? flow.identity_providers : [{ id: "", name: "single sign-on" }];
    for (const provider of providers) {
      const link = document.createElement("a");
      link.className = "button";
      link.textContent = "Continue with " + provider.name;
      link.href = base + "/sso/redirect" + (provider.id ? "/" + encodeURIComponent(provider.id) : "")
        + "?redirectUrl=" + back;
      document.getElementById("sso").append(link);
    }
  }
}
if (params.has("loginToken")) logIn({ type: "m.login.token", token: params.get("loginToken") });
show().catch(() => say("The server cannot be reached."));
"""
_PAGE = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title><style>{_STYLE}</style></head>
<body><h1>Log in</h1><p role="alert" id="alert" hidden></p>
<div id="ways"><form id="password" hidden>
<label>User name<input name="user" autocomplete="username" autocapitalize="none" required></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form><div id="sso"></div></div>
<p id="done" hidden>You are logged in. You can go on in your app.</p>
<noscript><p>This page needs JavaScript.</p></noscript>
<script>{_SCRIPT}</script></body></html>
"""


def _hash_of(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src 'sha256-{_hash_of(_SCRIPT)}'; "
    f"style-src 'sha256-{_hash_of(_STYLE)}'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class LoginFallbackApi:
    """One page that stands by itself."""

    @endpoint(
        "GET", ["/_matrix/static/client/login/", "/_matrix/static/client/login"], auth=Auth.NONE, limit="login_address"
    )
    async def page(self, request: Request) -> HTMLResponse:
        return HTMLResponse(_PAGE, headers=_HEADERS)
