"""Somebody in a call loses the connection, and the server loses its power: the call hears of the one and the other."""

from __future__ import annotations

import asyncio

from server_process import make_client, running_server

MEMBER = "org.matrix.msc3401.call.member"


async def test_the_call_is_left_after_the_client_vanished_and_the_server_was_killed() -> None:
    async with running_server() as (server, session):
        alice = await make_client(server.url, session, "alice")
        bob = await make_client(server.url, session, "bob")
        made = await alice.call("POST", "/createRoom", {"preset": "public_chat"})
        room_id = made["room_id"]
        await bob.call("POST", f"/join/{room_id}", {})
        path = f"/rooms/{room_id}/state/{MEMBER}/{alice.user_id}"
        await alice.call("PUT", path, {"call": 1})
        delayed = await alice.call("PUT", path, {}, **{"org.matrix.msc4140.delay": "2500"})
        assert "delay_id" in delayed

        server.kill()
        await server.start()
        seen = [await bob.call("GET", path)]
        for _ in range(100):
            if seen[-1] == {}:
                break
            await asyncio.sleep(0.1)
            seen.append(await bob.call("GET", path))
        assert seen[-1] == {}
