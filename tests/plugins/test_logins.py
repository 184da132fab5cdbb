"""The bundled plugins for passwords and registration tokens, and what a plugin's own stage gets from the server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import server_with
from server_kit import Server

from homeserver.plugin_api import (
    AuthAttempt,
    AuthStage,
    CountedUse,
    PluginContext,
    StageFinding,
    forbidden,
    hookimpl,
)
from homeserver.runtime.clock import ManualClock

PASSWORD = "correct horse"
V3 = "/_matrix/client/v3"


async def log_in(server: Server, user: str, password: str) -> tuple[int, Any]:
    identifier = {"type": "m.id.user", "user": user}
    body = {"type": "m.login.password", "identifier": identifier, "password": password}
    answer = await server.client.post(f"{V3}/login", body)
    return answer.status, answer.json


async def register(server: Server, name: str, auth: dict[str, Any]) -> tuple[int, Any]:
    """One round: open a session, then send `auth` in it."""
    body = {"username": name, "password": PASSWORD}
    first = await server.client.post(f"{V3}/register", body)
    assert first.status == 401
    answer = await server.client.post(f"{V3}/register", {**body, "auth": {"session": first.json["session"], **auth}})
    return answer.status, answer.json


async def test_the_password_plugin_takes_the_place_of_the_servers_own_login(tmp_path: Path) -> None:
    async with server_with(tmp_path, "password_login") as server:
        flows = (await server.client.get(f"{V3}/login")).json["flows"]
        others = ["m.login.token", "m.login.application_service", "m.login.sso"]
        assert [flow["type"] for flow in flows] == ["m.login.password", *others]
        await server.homeserver.accounts.accounts.create("alice", password=PASSWORD)
        status, session = await log_in(server, "alice", PASSWORD)
        assert (status, session["user_id"]) == (200, "@alice:example.org")
        for name, password in (("alice", "wrong"), ("nobody", PASSWORD)):
            status, refusal = await log_in(server, name, password)
            assert (status, refusal["errcode"]) == (403, "M_FORBIDDEN")


async def test_guesses_are_limited_with_the_plugin_as_without(tmp_path: Path) -> None:
    async with server_with(tmp_path, "password_login", rate_limits={"enabled": True}) as server:
        await server.homeserver.accounts.accounts.create("alice", password=PASSWORD)
        statuses = [(await log_in(server, "alice", "wrong"))[0] for _ in range(12)]
        assert statuses[0] == 403
        assert statuses[-1] == 429


def tokens(*listed: dict[str, Any]) -> dict[str, Any]:
    return {"name": "registration_tokens", "settings": {"tokens": list(listed)}}


async def test_tokens_from_the_settings_open_as_many_accounts_as_they_say(tmp_path: Path) -> None:
    plugin = tokens({"token": "once", "uses": 1}, {"token": "often"})
    async with server_with(tmp_path, plugin, registration={"mode": "token"}) as server:
        validity = f"{V3}/register/m.login.registration_token/validity".replace("/v3/", "/v1/")
        assert (await server.client.get(validity, query={"token": "once"})).json == {"valid": True}
        stage = {"type": "m.login.registration_token"}
        status, session = await register(server, "alice", {**stage, "token": "once"})
        assert (status, session["user_id"]) == (200, "@alice:example.org")
        assert (await server.client.get(validity, query={"token": "once"})).json == {"valid": False}
        status, refusal = await register(server, "bob", {**stage, "token": "once"})
        assert (status, refusal["errcode"]) == (401, "M_FORBIDDEN")
        assert (await register(server, "bob", {**stage, "token": "unknown"}))[0] == 401
        for name in ("bob", "carol"):
            assert (await register(server, name, {**stage, "token": "often"}))[0] == 200


async def test_a_token_expires(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000_000)
    plugin = tokens(
        {"token": "old", "expires": "2023-11-14T00:00:00Z"}, {"token": "new", "expires": "2023-11-16T00:00:00"}
    )
    async with server_with(tmp_path, plugin, clock=clock, registration={"mode": "token"}) as server:
        stage = {"type": "m.login.registration_token"}
        assert (await register(server, "alice", {**stage, "token": "old"}))[0] == 401
        assert (await register(server, "alice", {**stage, "token": "new"}))[0] == 200


class Riddle:
    """A stage that everybody has to complete, and that runs out."""

    stage_type = "org.example.riddle"
    proves_account = False
    for_registration = True

    async def is_available_to(self, user_id: str) -> bool:
        return False

    async def params(self) -> dict[str, Any] | None:
        return {"question": "What walks on four legs in the morning?"}

    async def check(self, attempt: AuthAttempt) -> StageFinding:
        if attempt.auth.get("answer") != "man":
            raise forbidden("That is not the answer.")
        return StageFinding({"solved": True}, [CountedUse("solutions", 1)])


class RiddlePlugin:
    def __init__(self, context: PluginContext) -> None:
        self._context = context

    @hookimpl
    def register_auth_stages(self) -> Sequence[AuthStage]:
        return [Riddle()]


@pytest.fixture
def riddle(monkeypatch: pytest.MonkeyPatch) -> str:
    import sys

    monkeypatch.setitem(sys.modules, "plugins_of_test_logins", sys.modules[__name__])
    return "plugins_of_test_logins:RiddlePlugin"


async def test_a_plugins_stage_is_asked_of_all_newcomers_and_its_uses_run_out(tmp_path: Path, riddle: str) -> None:
    async with server_with(tmp_path, riddle) as server:
        first = await server.client.post(f"{V3}/register", {"username": "alice", "password": PASSWORD})
        assert first.json["flows"] == [{"stages": ["org.example.riddle"]}]
        assert first.json["params"]["org.example.riddle"]["question"].startswith("What walks")
        auth = {"type": "org.example.riddle", "answer": "a cat"}
        assert (await register(server, "alice", auth))[1]["error"] == "That is not the answer."
        assert (await register(server, "alice", {**auth, "answer": "man"}))[0] == 200
        status, refusal = await register(server, "bob", {**auth, "answer": "man"})
        assert (status, refusal["error"]) == (401, "This has been used as often as it may be.")


async def test_a_use_comes_back_when_the_session_expires_unfinished(tmp_path: Path, riddle: str) -> None:
    clock = ManualClock()
    sections = {"registration": {"mode": "token"}}
    async with server_with(tmp_path, riddle, clock=clock, **sections) as server:
        auth = {"type": "org.example.riddle", "answer": "man"}
        status, waiting = await register(server, "alice", auth)
        assert (status, waiting["completed"]) == (401, ["org.example.riddle"])
        assert (await register(server, "bob", auth))[1]["error"] == "This has been used as often as it may be."
        await clock.advance(2 * 3600)
        await server.homeserver.accounts.interactive_auth.forget_expired()
        assert (await register(server, "bob", auth))[1]["completed"] == ["org.example.riddle"]
