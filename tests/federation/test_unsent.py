"""What waits in memory for a server: the newest of each, and never more than fits."""

from __future__ import annotations

import orjson

from homeserver.protocol.edus import PresenceUpdate, Receipt
from homeserver_federation.outbound.unsent import MOST_AT_ONCE, Unsent

ROOM, ALICE = "!room:a", "@alice:a"


def test_newer_news_takes_the_place_of_older() -> None:
    unsent = Unsent()
    unsent.note_typing(ROOM, ALICE, True)
    unsent.note_typing(ROOM, ALICE, False)
    unsent.note_receipt(Receipt(ROOM, ALICE, "$1", 1))
    unsent.note_receipt(Receipt(ROOM, ALICE, "$2", 2))
    unsent.note_presence(PresenceUpdate(ALICE, "online"))
    unsent.note_presence(PresenceUpdate(ALICE, "offline"))
    typing, receipt, presence = (orjson.loads(edu)["content"] for edu in unsent.take().edus())
    assert typing["typing"] is False
    assert receipt[ROOM]["m.read"][ALICE] == {"event_ids": ["$2"], "data": {"ts": 2}}
    assert presence["push"][0]["presence"] == "offline"
    assert not unsent


def test_receipts_in_several_threads_of_a_room_need_several_edus() -> None:
    unsent = Unsent()
    for thread_id in (None, "main", "$thread"):
        unsent.note_receipt(Receipt(ROOM, ALICE, f"${thread_id}", 1, thread_id))
    unsent.note_receipt(Receipt("!other:a", ALICE, "$x", 1))
    edus = [orjson.loads(edu)["content"] for edu in unsent.edus()]
    assert len(edus) == 3
    threads = [edu[ROOM]["m.read"][ALICE]["data"].get("thread_id") for edu in edus]
    assert threads == [None, "main", "$thread"]
    assert sum("!other:a" in edu for edu in edus) == 1


def test_what_does_not_fit_waits() -> None:
    unsent = Unsent()
    for number in range(40):
        unsent.note_typing(f"!{number}:a", ALICE, True)
        unsent.note_receipt(Receipt(ROOM, ALICE, f"${number}", 1, f"$thread{number}"))
        unsent.note_presence(PresenceUpdate(f"@{number}:a", "online"))
    rounds = 0
    seen: set[bytes] = set()
    while unsent:
        edus = unsent.take().edus()
        assert 0 < len(edus) <= MOST_AT_ONCE
        seen.update(edus)
        rounds += 1
    assert rounds > 1
    assert len(seen) == 40 + 40 + 1


def test_what_was_taken_in_vain_comes_back_behind_newer_news() -> None:
    unsent = Unsent()
    unsent.note_receipt(Receipt(ROOM, ALICE, "$1", 1))
    unsent.note_typing(ROOM, "@bob:a", True)
    taken = unsent.take()
    unsent.note_receipt(Receipt(ROOM, ALICE, "$2", 2))
    unsent.put_back(taken)
    assert [receipt.event_id for receipt in unsent.receipts.values()] == ["$2"]
    assert unsent.typing == {(ROOM, "@bob:a"): True}


def test_a_server_that_is_away_is_not_told_who_typed() -> None:
    unsent = Unsent()
    unsent.note_typing(ROOM, ALICE, True)
    unsent.note_presence(PresenceUpdate(ALICE, "online"))
    for number in range(500):
        unsent.note_receipt(Receipt(f"!{number}:a", ALICE, "$1", 1))
    unsent.drop_stale()
    assert not unsent.typing
    assert not unsent.presence
    assert len(unsent.receipts) == 200
    assert ("!499:a", ALICE, "") in unsent.receipts
