"""The e-mail pusher: what is unread for a while is told in one letter, not too often, until somebody has enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from email_people import sign_up
from mail_server import MailServer
from plugin_kit import server_with
from server_kit import Server, User

from homeserver.runtime.clock import ManualClock

ALICE = "alice@example.com"


def pusher(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "email",
        "app_id": "m.email",
        "pushkey": ALICE,
        "app_display_name": "Email notifications",
        "device_display_name": ALICE,
        "lang": "en",
        "data": {},
        **changes,
    }


@dataclass
class Scene:
    """Alice, who is away, and Bob, who writes to her."""

    server: Server
    clock: ManualClock
    post: MailServer
    alice: User
    bob: User
    room_id: str

    async def pass_by(self, seconds: float) -> None:
        """Time goes by, with everybody having done what they do at any moment of it."""
        await self.server.homeserver.followers.caught_up("push")
        await asyncio.sleep(0.1)
        await self.clock.advance(seconds)
        await asyncio.sleep(0.15)

    @property
    def digests(self) -> list[str]:
        return [letter.text for letter in self.post.letters if "unread" in letter.subject]


@pytest.fixture
async def kitchen(tmp_path: Path, post: MailServer) -> AsyncIterator[Scene]:
    clock = ManualClock()
    async with server_with(tmp_path, "push_email", email=post.settings(), clock=clock) as server:
        alice = await sign_up(server, post, "alice", ALICE)
        bob = await server.user("bob")
        room_id = await bob.create_room(invite=[alice.user_id], name="Kitchen & bar")
        await alice.join(room_id)
        await alice.call("POST", "/pushers/set", pusher())
        await server.homeserver.followers.caught_up("push")
        yield Scene(server, clock, post, alice, bob, room_id)


async def test_what_is_unread_comes_in_one_letter(kitchen: Scene) -> None:
    await kitchen.bob.say(kitchen.room_id, "Dinner is <ready>")
    await kitchen.bob.say(kitchen.room_id, "Are you there?")
    await kitchen.pass_by(590)
    assert kitchen.digests == []
    await kitchen.pass_by(20)
    letter = await kitchen.post.next_to(ALICE, 2)
    assert letter.subject == "2 unread on Birdhouse"
    assert "Kitchen & bar (2)\n" in letter.text
    assert "  bob: Dinner is <ready>\n  bob: Are you there?\n" in letter.text
    assert "<strong>bob</strong>: Dinner is &lt;ready&gt;" in letter.html
    assert "https://matrix.to/#/!" in letter.text


async def test_what_was_read_or_taken_back_does_not_come(kitchen: Scene) -> None:
    read = await kitchen.bob.say(kitchen.room_id, "Read")
    await kitchen.pass_by(60)
    await kitchen.alice.read(kitchen.room_id, read)
    await kitchen.bob.redact(kitchen.room_id, await kitchen.bob.say(kitchen.room_id, "Taken back"))
    await kitchen.pass_by(60)
    await kitchen.bob.say(kitchen.room_id, "Unread")
    await kitchen.pass_by(700)
    await kitchen.pass_by(700)
    letter = await kitchen.post.next_to(ALICE, 2)
    assert letter.subject == "1 unread on Birdhouse"
    assert ("Unread" in letter.text, "Taken back" in letter.text, "Read\n" in letter.text) == (True, False, False)


async def test_letters_come_ever_less_often(kitchen: Scene) -> None:
    for pauses in ([601], [601, 2_400, 700], [601, 5_800, 900]):
        before = len(kitchen.digests)
        await kitchen.bob.say(kitchen.room_id, "Hello?")
        for number, seconds in enumerate(pauses, 1):
            assert len(kitchen.digests) == before
            await kitchen.pass_by(seconds)
            if number == len(pauses):
                await kitchen.post.next_to(ALICE, before + 2)


async def test_enough(kitchen: Scene) -> None:
    await kitchen.bob.say(kitchen.room_id, "Hello?")
    await kitchen.pass_by(601)
    letter = await kitchen.post.next_to(ALICE, 2)
    client = kitchen.server.client
    assert letter.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert letter.link in "".join(letter.message["List-Unsubscribe"].split())
    assert b"No more digests to alice@example.com?" in (await client.get(letter.link)).body
    assert len((await kitchen.alice.call("GET", "/pushers"))["pushers"]) == 1
    forged = letter.link.replace("signature=", "signature=0")
    assert (await client.request("POST", forged, body=b"List-Unsubscribe=One-Click")).status == 400
    assert (await client.request("POST", letter.link, body=b"List-Unsubscribe=One-Click")).status == 200
    assert (await kitchen.alice.call("GET", "/pushers"))["pushers"] == []
    await kitchen.bob.say(kitchen.room_id, "Still there?")
    await kitchen.pass_by(20_000)
    assert len(kitchen.digests) == 1


async def test_digests_go_to_ones_own_addresses_only_and_end_with_them(kitchen: Scene) -> None:
    for user, key in ((kitchen.bob, ALICE), (kitchen.alice, "other@example.com")):
        refused = await user.ask("POST", "/pushers/set", pusher(pushkey=key))
        assert (refused.status, refused.json["errcode"]) == (400, "M_THREEPID_NOT_FOUND")
    refused = await kitchen.alice.ask("POST", "/pushers/set", pusher(app_id="org.example"))
    assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")
    await kitchen.alice.call("POST", "/account/3pid/delete", {"medium": "email", "address": ALICE})
    assert (await kitchen.alice.call("GET", "/pushers"))["pushers"] == []


async def test_what_waits_survives_a_restart(tmp_path: Path, post: MailServer) -> None:
    clock = ManualClock()
    options: dict[str, Any] = {"email": post.settings(), "clock": clock}
    async with server_with(tmp_path, "push_email", **options) as server:
        alice = await sign_up(server, post, "alice", ALICE)
        bob = await server.user("bob")
        room_id = await bob.create_room(invite=[alice.user_id])
        await alice.join(room_id)
        await alice.call("POST", "/pushers/set", pusher())
        await bob.say(room_id, "Hello?")
        await server.homeserver.followers.caught_up("push")
    async with server_with(tmp_path, "push_email", **options) as server:
        await asyncio.sleep(0.1)
        await clock.advance(601)
        assert "bob: Hello?" in (await post.next_to(ALICE, 2)).text


async def test_a_server_without_email_has_no_such_pushers(tmp_path: Path) -> None:
    async with server_with(tmp_path, "push_email") as server:
        refused = await (await server.user("alice")).ask("POST", "/pushers/set", pusher())
        assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")
