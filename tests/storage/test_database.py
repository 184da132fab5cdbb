"""Group commit and positions: what is committed together, what fails alone, and in which order all becomes visible."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from homeserver.storage.changes import Change
from homeserver.storage.database import Database, StorageClosed, Transaction, load_position
from homeserver.storage.rooms import add_alias, find_alias


def _change(tx: Transaction, alias: str, fails: bool = False) -> int:
    position = tx.next_position()
    tx.announce(Change(position, "test", detail=alias))
    assert add_alias(tx, alias, "!room", "@somebody", 0)
    if fails:
        raise ValueError(alias)
    return position


async def test_positions_have_no_gaps_and_follow_the_commits(database: Database) -> None:
    told: list[int] = []
    database.on_commit(lambda changes, _: told.extend(change.position for change in changes))
    positions = await asyncio.gather(*(database.write(_change, f"#{n}") for n in range(100)))
    assert sorted(positions) == list(range(1, 101))
    assert told == sorted(told)
    assert await database.read(load_position) == 100


async def test_who_fails_fails_alone(database: Database) -> None:
    told: list[object] = []
    database.on_commit(lambda changes, _: told.extend(change.detail for change in changes))
    outcomes = await asyncio.gather(
        *(database.write(_change, f"#{n}", n % 7 == 3) for n in range(40)), return_exceptions=True
    )
    failed = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ValueError)]
    assert failed == [n for n in range(40) if n % 7 == 3]
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == list(range(1, 41 - len(failed)))
    assert len(told) == 40 - len(failed)
    assert await database.read(find_alias, "#3") is None
    assert await database.read(find_alias, "#4") is not None


async def test_a_commit_is_told_before_its_writer_goes_on(database: Database) -> None:
    order: list[str] = []

    def tell(changes: Sequence[Change], position: int | None) -> None:
        order.append("told")

    database.on_commit(tell)
    await database.write(_change, "#a")
    order.append("written")
    assert order == ["told", "written"]


async def test_a_change_that_takes_no_position_tells_nobody(database: Database) -> None:
    told: list[object] = []
    database.on_commit(lambda changes, position: told.append(position))
    await database.write(add_alias, "#quiet", "!room", "@somebody", 0)
    assert told == []
    assert await database.read(load_position) == 0


async def test_a_closed_database_says_so(database: Database) -> None:
    await database.close()
    with pytest.raises(StorageClosed):
        await database.read(load_position)
    with pytest.raises(StorageClosed):
        await database.write(_change, "#late")


async def test_a_reopened_database_goes_on_where_it_stood(database: Database) -> None:
    await database.write(_change, "#a")
    await database.close()
    await database.open()
    assert await database.write(_change, "#b") == 2
