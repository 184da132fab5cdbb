"""A client others have written: authlib's, going through the code flow with a real server over real HTTP."""

from __future__ import annotations

import html
import re
import warnings
from pathlib import Path

import httpx
from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]
from oauth_kit import API, DEVICE
from server_process import SECRET, ServerProcess

with warnings.catch_warnings():
    # authlib would rather have httpx2, which its client is no different over.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client

REDIRECT = "http://127.0.0.1:44999/callback"
METADATA = {
    "client_name": "A program",
    "client_uri": "https://program.example.org/",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "token_endpoint_auth_method": "none",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
}


def form_of(page: httpx.Response, **fields: str) -> dict[str, str]:
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text.partition("</form>")[0])
    return {name: html.unescape(value) for name, value in hidden} | fields


async def test_authlib_logs_in_refreshes_and_revokes(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    settings = server.config.read_text().replace(
        '"server_name":"localhost"', f'"server_name":"localhost","public_baseurl":"{server.url}"'
    )
    server.config.write_text(settings)
    assert SECRET in settings
    try:
        await server.start()
        await _go_through(server.url)
    finally:
        server.stop()
    log = server.log.read_text()
    assert "Traceback" not in log


async def _go_through(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        metadata = (await http.get("/_matrix/client/v1/auth_metadata")).json()
        client_id = (await http.post(metadata["registration_endpoint"], json=METADATA)).json()["client_id"]
        async with AsyncOAuth2Client(
            client_id,
            scope=f"{API} {DEVICE}AUTHLIB001",
            redirect_uri=REDIRECT,
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
            revocation_endpoint_auth_method="none",
            token_endpoint=metadata["token_endpoint"],
        ) as client:
            verifier = "v" * 64
            target, _ = client.create_authorization_url(
                metadata["authorization_endpoint"], code_verifier=verifier, prompt="create"
            )
            page = await http.get(target, follow_redirects=True)
            new = form_of(page, username="alice", password="correct horse battery")
            sign_up = await http.post("/_starling/client/oauth2/sign-up", data=new, follow_redirects=True)
            assert "Continue to A program?" in sign_up.text, sign_up.text
            allowed = await http.post(
                metadata["authorization_endpoint"], data=form_of(sign_up, decision="allow"), follow_redirects=False
            )
            location = allowed.headers["location"]
            assert location.startswith(REDIRECT)
            token = await client.fetch_token(authorization_response=location, code_verifier=verifier)
            assert token["token_type"] == "Bearer"
            whoami = await client.get(f"{url}/_matrix/client/v3/account/whoami")
            assert whoami.json()["device_id"] == "AUTHLIB001"
            fresh = await client.refresh_token()
            assert fresh["refresh_token"] != token["refresh_token"]
            assert (await client.get(f"{url}/_matrix/client/v3/sync?timeout=0")).status_code == 200
            revoked = await client.revoke_token(metadata["revocation_endpoint"], token=fresh["refresh_token"])
            assert revoked.status_code == 200
            bearer = {"Authorization": f"Bearer {fresh['access_token']}"}
            assert (await http.get("/_matrix/client/v3/account/whoami", headers=bearer)).status_code == 401
