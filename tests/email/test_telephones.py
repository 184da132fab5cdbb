"""Telephone numbers, with a plugin that sends SMS and on a server without e-mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from email_people import PASSWORD, SECRET
from plugin_kit import server_with
from server_kit import V3, Server

from homeserver.storage import plugin_data
from homeserver.testing import Answer

THIRD_PARTY = Path(__file__).parents[1] / "plugins" / "third_party" / "src"
PLUGIN = "starling_greeter:Plugin"
PAGE = "/_starling/client/validate"


async def request_token(server: Server, kind: str, number: str, **changes: Any) -> Answer:
    body = {"client_secret": SECRET, "country": "GB", "phone_number": number, "send_attempt": 1, **changes}
    return await server.client.post(f"{V3}/{kind}/msisdn/requestToken", body)


async def received(server: Server, msisdn: str) -> str:
    text = await server.homeserver.database.read(plugin_data.find_value, PLUGIN, f"sms/{msisdn}", 0)
    return str(text)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(THIRD_PARTY)


async def test_sign_up_and_log_in_by_telephone(tmp_path: Path) -> None:
    registration = {"mode": "open", "phone": "required"}
    async with server_with(tmp_path, PLUGIN, registration=registration) as server:
        body = {"username": "alice", "password": PASSWORD}
        asked = await server.client.post(f"{V3}/register", body)
        assert asked.json["flows"] == [{"stages": ["m.login.msisdn"]}]
        sent = (await request_token(server, "register", "07700 900001")).json
        assert (sent["msisdn"], sent["intl_fmt"]) == ("447700900001", "+447700900001")
        code = (await received(server, "447700900001")).split()[1]
        submitted = {"sid": sent["sid"], "client_secret": SECRET, "token": code}
        assert (await server.client.post(PAGE, submitted)).json == {"success": True}
        proof = {"threepid_creds": {"sid": sent["sid"], "client_secret": SECRET}, "session": asked.json["session"]}
        wrong = {**body, "auth": {**proof, "type": "m.login.email.identity"}}
        assert (await server.client.post(f"{V3}/register", wrong)).status == 401
        made = await server.client.post(f"{V3}/register", {**body, "auth": {**proof, "type": "m.login.msisdn"}})
        assert made.status == 200
        identifier = {"type": "m.id.phone", "country": "GB", "phone": "07700-900001"}
        login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        assert (await server.client.post(f"{V3}/login", login)).json["user_id"] == "@alice:example.org"


async def test_what_cannot_be_sent_is_said(tmp_path: Path) -> None:
    async with server_with(tmp_path, PLUGIN, registration={"mode": "open", "phone": "optional"}) as server:
        refused = await request_token(server, "register", "0123")
        assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")
        for _ in range(2):
            lost = await request_token(server, "register", "07700900666")
            assert (lost.status, lost.json["errcode"]) == (502, "M_UNKNOWN")
        email = {"client_secret": SECRET, "email": "a@example.com", "send_attempt": 1}
        refused = await server.client.post(f"{V3}/account/3pid/email/requestToken", email)
        assert (refused.status, refused.json["errcode"]) == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
