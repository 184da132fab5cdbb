"""Delayed events on both databases: who gets to send one, and in which order."""

from __future__ import annotations

from homeserver.storage import delayed_events as storage
from homeserver.storage.database import Database
from homeserver.storage.dehydrated_devices import delete_dehydrated, find_dehydrated, store_dehydrated
from homeserver.storage.delayed_events import CLAIM_MS, DelayedEvent

ALICE = "@alice:example.org"


def _event(delay_id: str, scheduled_ms: int, delay_ms: int) -> DelayedEvent:
    content = {"body": delay_id}
    return DelayedEvent(delay_id, ALICE, "!room", "m.room.message", None, content, None, delay_ms, scheduled_ms)


async def _schedule(database: Database, event: DelayedEvent, key: str | None = None) -> tuple[str | None, int | None]:
    return await database.write(storage.schedule, event, key, 3)


async def _claim(database: Database, now_ms: int) -> list[str]:
    return [event.delay_id for event in await database.write(storage.claim_due, now_ms, 10)]


async def test_due_events_are_claimed_in_order_by_one_alone(database: Database) -> None:
    for delay_id, delay_ms in (("late", 300), ("first", 100), ("second", 200)):
        assert await _schedule(database, _event(delay_id, 1_000, delay_ms)) == (delay_id, None)
    assert await database.read(storage.find_next_due, 1_000) == 1_100
    assert await _claim(database, 1_099) == []
    assert await _claim(database, 1_250) == ["first", "second"]
    assert await _claim(database, 1_250) == [], "somebody is sending them"
    assert await database.read(storage.find_next_due, 1_250) == 1_300
    assert not await database.write(storage.cancel, "first", 1_250)
    assert not await database.write(storage.restart, "first", 1_250)
    assert await _claim(database, 1_250 + CLAIM_MS) == ["first", "second", "late"], "their holder has died"
    await database.write(storage.give_all_back)
    assert await _claim(database, 1_250) == ["first", "second"], "all holders have ended"


async def test_the_number_of_scheduled_events_and_repetitions(database: Database) -> None:
    for number in range(3):
        await _schedule(database, _event(f"e{number}", 0, 100 + number), f"txn{number}")
    assert await _schedule(database, _event("one more", 0, 50)) == (None, 100)
    assert await _schedule(database, _event("again", 0, 50), "txn1") == ("e1", None)
    assert await database.write(storage.cancel, "e0", 60)
    assert await _schedule(database, _event("one more", 0, 50)) == ("one more", None)
    listed = await database.read(storage.load_scheduled, ALICE)
    assert [event.delay_id for event in listed] == ["one more", "e1", "e2"]


async def test_outcomes_are_kept_and_forgotten(database: Database) -> None:
    for delay_id in ("sent", "refused", "restarted"):
        await _schedule(database, _event(delay_id, 0, 100))
    await database.write(storage.finalise, "sent", 110, "$event", None)
    await database.write(storage.finalise, "refused", 120, None, {"errcode": "M_FORBIDDEN"})
    assert await database.write(storage.restart, "restarted", 90)
    sent = await database.read(storage.find_delayed, "sent")
    refused = await database.read(storage.find_delayed, "refused")
    restarted = await database.read(storage.find_delayed, "restarted")
    assert sent is not None
    assert (sent.event_id, sent.finalised_ms) == ("$event", 110)
    assert refused is not None
    assert refused.error == {"errcode": "M_FORBIDDEN"}
    assert restarted is not None
    assert restarted.due_ms == 190
    assert not await database.write(storage.cancel, "sent", 130)
    assert await database.write(storage.delete_finalised, 110) == 1
    assert await database.read(storage.find_delayed, "sent") is None


async def test_a_dehydrated_device_goes_with_its_device_only(database: Database) -> None:
    await database.write(store_dehydrated, ALICE, "OLD", {"algorithm": "a"})
    await database.write(store_dehydrated, ALICE, "NEW", {"algorithm": "b"})
    await database.write(delete_dehydrated, ALICE, ["OLD"])
    assert await database.read(find_dehydrated, ALICE) == ("NEW", {"algorithm": "b"})
    await database.write(delete_dehydrated, ALICE, ["NEW", "OLD"])
    assert await database.read(find_dehydrated, ALICE) is None
