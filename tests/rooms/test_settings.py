"""What the settings of rooms and of retention do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server_kit import SERVER, running_server
from sqlalchemy import Connection, select

from homeserver.storage.tables.events import events
from homeserver.testing import path_of


async def test_what_is_reserved_for_administrators(tmp_path: Path) -> None:
    async with running_server(tmp_path, rooms={"create": "admins", "publish": "nobody"}) as server:
        alice, root = await server.user("alice"), await server.user("root", admin=True)
        refused = await alice.ask("POST", "/createRoom", {})
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
        room_id = await root.create_room()
        listed = await root.ask("PUT", path_of("directory", "list", "room", room_id), {"visibility": "public"})
        assert (listed.status, listed.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_presets_that_are_always_encrypted(tmp_path: Path) -> None:
    async with running_server(tmp_path, rooms={"encrypt_presets": ["private_chat"]}) as server:
        alice = await server.user("alice")
        private, public = await alice.create_room(), await alice.create_room(preset="public_chat")
        path = path_of("rooms", private, "state", "m.room.encryption")
        assert (await alice.call("GET", path))["algorithm"] == "m.megolm.v1.aes-sha2"
        assert (await alice.ask("GET", path_of("rooms", public, "state", "m.room.encryption"))).status == 404


async def test_newcomers_join_what_the_settings_name(tmp_path: Path) -> None:
    rooms = [f"#lobby:{SERVER}", f"#gone:{SERVER}"]
    async with running_server(tmp_path, registration={"mode": "open", "auto_join_rooms": rooms}) as server:
        root = await server.user("root")
        lobby = await root.create_room(preset="public_chat", room_alias_name="lobby")
        await root.sync()
        alice = await server.user("alice")
        news = await root.sync(5_000)
        while "rooms" not in news:
            # Her new device may be told of before she comes in.
            news = await root.sync(5_000)
        (event,) = news["rooms"]["join"][lobby]["timeline"]["events"]
        assert (event["state_key"], event["content"]["membership"]) == (alice.user_id, "join")


async def test_the_directory_may_need_a_login(tmp_path: Path) -> None:
    async with running_server(tmp_path, rooms={"public_directory_needs_login": True}) as server:
        assert (await server.client.get("/_matrix/client/v3/publicRooms")).status == 401
        alice = await server.user("alice")
        assert await alice.call("GET", "/publicRooms") == {"chunk": [], "total_room_count_estimate": 0}


async def test_rooms_may_be_forgotten_on_leaving(tmp_path: Path) -> None:
    async with running_server(tmp_path, rooms={"forget_on_leave": True}) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        await alice.leave(room_id)
        assert (await alice.ask("GET", path_of("rooms", room_id, "messages"))).status == 403


async def test_redacted_content_is_gone_for_good_in_time(tmp_path: Path) -> None:
    async with running_server(tmp_path, retention={"redacted_content": "0s", "transaction_ids": "0s"}) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        secret = await alice.say(room_id, "regretted")
        kept = await alice.say(room_id, "kept")
        await alice.redact(room_id, secret)
        assert b"regretted" in await server.homeserver.database.read(_stored, secret)
        await server.homeserver.clock.sleep(0.01)
        await server.homeserver.room_retention.run()
        assert b"regretted" not in await server.homeserver.database.read(_stored, secret)
        assert b"kept" in await server.homeserver.database.read(_stored, kept)


def _stored(connection: Connection, event_id: str) -> Any:
    return connection.execute(select(events.c.pdu).where(events.c.event_id == event_id)).scalar_one()
