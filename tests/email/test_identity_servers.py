"""Addresses published at an identity server, and people invited by address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from email_people import PASSWORD
from identity_server import TOKEN, IdentityServer, identity_server
from mail_server import MailServer
from plugin_kit import server_with
from server_kit import Server, User

from homeserver.testing import path_of

ANNA = "anna@example.com"


@dataclass
class Scene:
    server: Server
    directory: IdentityServer
    alice: User
    bob: User

    def invite(self, **changes: Any) -> dict[str, Any]:
        named = {"id_server": self.directory.name, "id_access_token": TOKEN}
        return {**named, "medium": "email", "address": "Anna@Example.com", **changes}

    async def bind(self) -> None:
        self.directory.validated["s1"] = ANNA
        body = {"id_server": self.directory.name, "id_access_token": TOKEN, "sid": "s1", "client_secret": "x"}
        assert await self.alice.call("POST", "/account/3pid/bind", body) == {}


@pytest.fixture
async def scene(tmp_path: Path, post: MailServer) -> AsyncIterator[Scene]:
    identity: dict[str, Any] = {"allow_http": True, "allowed": ["127.0.0.1:*", "localhost:*"]}
    async with (
        identity_server() as directory,
        server_with(tmp_path, email=post.settings(), identity_servers=identity) as server,
    ):
        directory.homeserver_key = server.homeserver.signing_key.verify_key
        alice, bob = await server.users("alice", "bob")
        yield Scene(server, directory, alice, bob)


async def test_publishing_an_address_and_taking_it_back(scene: Scene) -> None:
    await scene.bind()
    assert scene.directory.bound == {ANNA: "@alice:example.org"}
    # The identity server is not named: this server knows where the address went.
    gone = await scene.alice.call("POST", "/account/3pid/unbind", {"medium": "email", "address": ANNA})
    assert gone == {"id_server_unbind_result": "success"}
    assert scene.directory.bound == {}
    again = await scene.alice.call("POST", "/account/3pid/unbind", {"medium": "email", "address": ANNA})
    assert again == {"id_server_unbind_result": "no-support"}


async def test_the_deprecated_way_to_publish(scene: Scene) -> None:
    scene.directory.validated["s1"] = ANNA
    creds = {"id_server": scene.directory.name, "id_access_token": TOKEN, "sid": "s1", "client_secret": "x"}
    assert await scene.alice.call("POST", "/account/3pid", {"three_pid_creds": creds}) == {}
    assert scene.directory.bound == {ANNA: "@alice:example.org"}


async def test_what_an_identity_server_cannot_do(scene: Scene) -> None:
    body = {"id_server": scene.directory.name, "id_access_token": TOKEN, "sid": "s2", "client_secret": "x"}
    early = await scene.alice.ask("POST", "/account/3pid/bind", body)
    assert (early.status, early.json["errcode"]) == (400, "M_SESSION_NOT_VALIDATED")
    stranger = await scene.alice.ask("POST", "/account/3pid/bind", {**body, "id_access_token": "wrong"})
    assert (stranger.status, stranger.json["errcode"]) == (403, "M_UNAUTHORIZED")
    await scene.bind()
    scene.directory.can_unbind = False
    named = {"medium": "email", "address": ANNA, "id_server": scene.directory.name}
    for way in ("unbind", "delete"):
        answer = await scene.alice.call("POST", f"/account/3pid/{way}", named)
        assert answer == {"id_server_unbind_result": "no-support"}


async def test_identity_servers_out_of_bounds(scene: Scene) -> None:
    body = {"id_access_token": TOKEN, "sid": "s1", "client_secret": "x"}
    expected = {"evil.example": "M_SERVER_NOT_TRUSTED", "127.0.0.1:1": "M_UNKNOWN", "a/b": "M_INVALID_PARAM"}
    for name, errcode in expected.items():
        refused = await scene.alice.ask("POST", "/account/3pid/bind", {**body, "id_server": name})
        assert refused.json["errcode"] == errcode


async def test_private_addresses_are_out_of_bounds(tmp_path: Path, post: MailServer) -> None:
    async with (
        identity_server() as directory,
        server_with(tmp_path, email=post.settings(), identity_servers={"allow_http": True}, outgoing={}) as server,
    ):
        directory.validated["s1"] = ANNA
        alice = await server.user("alice")
        body = {"id_server": directory.name, "id_access_token": TOKEN, "sid": "s1", "client_secret": "x"}
        refused = await alice.ask("POST", "/account/3pid/bind", body)
        assert (refused.status, refused.json["errcode"]) == (502, "M_UNKNOWN")
        assert directory.bound == {}


async def test_published_addresses_go_with_the_account(scene: Scene) -> None:
    await scene.server.homeserver.accounts.accounts.set_password(scene.alice.user_id, PASSWORD, log_out=False)
    await scene.bind()
    session = (await scene.alice.ask("POST", "/account/deactivate", {})).json["session"]
    auth = {"type": "m.login.password", "password": PASSWORD, "session": session}
    assert await scene.alice.call("POST", "/account/deactivate", {"auth": auth}) == {
        "id_server_unbind_result": "success"
    }
    assert scene.directory.bound == {}


async def test_inviting_somebody_whom_the_identity_server_knows(scene: Scene) -> None:
    await scene.bind()
    room_id = await scene.bob.create_room()
    assert await scene.bob.call("POST", path_of("rooms", room_id, "invite"), scene.invite()) == {}
    assert room_id in (await scene.alice.sync())["rooms"]["invite"]
    assert scene.directory.invites == []


async def test_inviting_somebody_who_is_not_here_yet(scene: Scene) -> None:
    room_id = await scene.bob.create_room(name="Kitchen", topic="Food")
    assert await scene.bob.call("POST", path_of("rooms", room_id, "invite"), scene.invite()) == {}
    (told,) = scene.directory.invites
    assert told == {
        "medium": "email",
        "address": ANNA,
        "room_id": room_id,
        "sender": "@bob:example.org",
        "sender_display_name": "bob",
        "room_name": "Kitchen",
        "room_join_rules": "invite",
    }
    pending = await scene.bob.call("GET", path_of("rooms", room_id, "state", "m.room.third_party_invite", "token1"))
    assert pending["display_name"] == "a...@e..."
    assert pending["public_key"] == scene.directory.key.verify_key_base64
    assert pending["public_keys"] == [{key: pending[key] for key in ("public_key", "key_validity_url")}]
    # Anna publishes the address: the identity server tells her homeserver, and she is invited.
    bound = scene.directory.onbind(scene.alice.user_id)
    assert (await scene.server.client.put("/_matrix/federation/v1/3pid/onbind", bound)).status == 200
    assert room_id in (await scene.alice.sync())["rooms"]["invite"]
    await scene.alice.join(room_id)


async def test_a_new_room_with_guests_by_address(scene: Scene) -> None:
    room_id = await scene.bob.create_room(invite_3pid=[scene.invite(), scene.invite(address="ben@example.com")])
    assert [invite["address"] for invite in scene.directory.invites] == [ANNA, "ben@example.com"]
    state = await scene.bob.call("GET", path_of("rooms", room_id, "state"))
    assert len([event for event in state if event["type"] == "m.room.third_party_invite"]) == 2
    made = {"invite_3pid": [scene.invite(id_server="evil.example")]}
    refused = await scene.bob.ask("POST", "/createRoom", made)
    assert (refused.status, refused.json["errcode"]) == (403, "M_SERVER_NOT_TRUSTED")


async def test_who_may_not_invite_tells_the_identity_server_nothing(scene: Scene) -> None:
    room_id = await scene.bob.create_room(power_level_content_override={"invite": 50}, invite=[scene.alice.user_id])
    path = path_of("rooms", room_id, "invite")
    for joined in (False, True):
        if joined:
            await scene.alice.join(room_id)
        refused = await scene.alice.ask("POST", path, scene.invite())
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
    assert scene.directory.invites == []
    incomplete = await scene.bob.ask("POST", path, {"medium": "email", "address": ANNA})
    assert (incomplete.status, incomplete.json["errcode"]) == (400, "M_MISSING_PARAM")
