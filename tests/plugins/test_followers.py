"""Followers of the log: every event in order, from the stored position, again after a failure or a rewind."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from plugin_kit import server_with
from server_kit import Server

from homeserver.app import Homeserver
from homeserver.storage.events import StoredEvent


class Reader:
    """Remembers what it was handed, and fails as often as it is told to."""

    def __init__(self, name: str = "reader", batch_size: int = 4) -> None:
        self.name = name
        self.batch_size = batch_size
        self.pause_s = 0.01
        self.has_interest = True
        self.batches: list[list[str]] = []
        self.failures = 0

    @property
    def said(self) -> list[str]:
        return [text for batch in self.batches for text in batch if not text.startswith("m.room.")]

    async def handle(self, events: Sequence[StoredEvent], up_to: int) -> None:
        assert [stored.position for stored in events] == sorted(stored.position or 0 for stored in events)
        assert events[-1].position is not None
        assert events[-1].position <= up_to
        if self.failures:
            self.failures -= 1
            raise ValueError("not now")
        self.batches.append([str(stored.event.content.get("body", stored.event.type)) for stored in events])


def plugin_server(server: Server) -> Homeserver:
    found = server.homeserver
    assert isinstance(found, Homeserver)
    return found


async def test_events_come_in_order_and_in_batches_and_history_is_no_news(tmp_path: Path) -> None:
    async with server_with(tmp_path) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        await alice.say(room_id, "before")
        reader, followers = Reader(), plugin_server(server).followers
        await followers.start([reader])
        for number in range(10):
            await alice.say(room_id, str(number))
        await followers.caught_up("reader")
        assert reader.said == [str(number) for number in range(10)]
        assert max(map(len, reader.batches)) <= 4
        with pytest.raises(ValueError, match="two followers are called reader"):
            await followers.start([Reader()])


async def test_a_follower_goes_on_where_it_was_when_the_server_stopped(tmp_path: Path) -> None:
    async with server_with(tmp_path) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        followers = plugin_server(server).followers
        await followers.start([Reader()])
        await alice.say(room_id, "one")
        await followers.caught_up("reader")
    async with server_with(tmp_path) as server:
        alice = await server.user("alice", device_id="AGAIN")
        await alice.say(room_id, "two")
        reader, followers = Reader(), plugin_server(server).followers
        await followers.start([reader])
        await followers.caught_up("reader")
        assert reader.said == ["two"]
        assert await followers.load_position_of("reader") == followers.position_of("reader")


async def test_after_a_failure_the_same_events_come_again(tmp_path: Path) -> None:
    async with server_with(tmp_path) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        reader, followers = Reader(), plugin_server(server).followers
        await followers.start([reader])
        reader.failures = 1
        await alice.say(room_id, "again")
        await followers.caught_up("reader")
        assert reader.said == ["again"]
        assert plugin_server(server).background.failures["follower reader"] == 1


async def test_a_rewound_follower_reads_from_there(tmp_path: Path) -> None:
    async with server_with(tmp_path) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        reader, followers = Reader(), plugin_server(server).followers
        await followers.start([reader])
        await alice.say(room_id, "one")
        await followers.caught_up("reader")
        before_two = followers.position_of("reader")
        await alice.say(room_id, "two")
        await followers.caught_up("reader")
        await followers.rewind("reader", before_two)
        await followers.caught_up("reader")
        assert reader.said == ["one", "two", "two"]


async def test_events_nobody_is_interested_in_are_passed_over(tmp_path: Path) -> None:
    async with server_with(tmp_path) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        reader, followers = Reader(), plugin_server(server).followers
        reader.has_interest = False
        await followers.start([reader])
        await alice.say(room_id, "unheard")
        await followers.caught_up("reader")
        reader.has_interest = True
        await alice.say(room_id, "heard")
        await followers.caught_up("reader")
        await asyncio.sleep(0)
        assert reader.said == ["heard"]
