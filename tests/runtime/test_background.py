"""Supervised tasks: failures are logged and counted, periodic ones go on, all end when the server stops."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tasks(clock: ManualClock) -> AsyncIterator[BackgroundTasks]:
    background = BackgroundTasks(clock)
    yield background
    await background.stop()


async def test_a_failure_is_logged_under_its_name(tasks: BackgroundTasks) -> None:
    async def fail() -> None:
        raise KeyError("x")

    with capture_logs() as lines:
        await tasks.start("doomed", fail())
    assert [(line["task"], type(line["exc_info"])) for line in lines] == [("doomed", KeyError)]
    assert tasks.failures == {"doomed": 1}
    await asyncio.sleep(0)
    assert tasks.running == []


async def test_periodic_work_goes_on_after_a_failure(tasks: BackgroundTasks, clock: ManualClock) -> None:
    calls: list[float] = []

    async def work() -> None:
        calls.append(clock.monotonic())
        if len(calls) == 2:
            raise OSError("once")

    with capture_logs():
        tasks.run_every("work", 10, work)
        await clock.advance(35)
    assert calls == [10, 20, 30]
    assert tasks.failures == {"work": 1}


async def test_periodic_work_at_once(tasks: BackgroundTasks, clock: ManualClock) -> None:
    calls: list[float] = []

    async def work() -> None:
        calls.append(clock.monotonic())

    tasks.run_every("work", 10, work, at_once=True)
    await clock.advance(10)
    assert calls == [0, 10]


async def test_a_follower_is_started_again_with_growing_pauses(tasks: BackgroundTasks, clock: ManualClock) -> None:
    starts: list[float] = []

    async def follow() -> None:
        starts.append(clock.monotonic())
        if len(starts) < 5:
            raise OSError("database away")

    with capture_logs():
        task = tasks.keep_running("follower", follow)
        await clock.advance(100)
    assert starts == [0, 1, 3, 7, 15]
    assert task.done()


async def test_stopping_ends_all_and_nothing_starts_any_more(clock: ManualClock) -> None:
    tasks = BackgroundTasks(clock)
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await clock.sleep(1000)
        finally:
            ended.append("stubborn")

    tasks.start("stubborn", stubborn())
    tasks.run_every("periodic", 1, stubborn)
    await asyncio.sleep(0)
    assert tasks.running == ["periodic", "stubborn"]
    await tasks.stop()
    assert ended == ["stubborn"]
    assert tasks.running == []
    with pytest.raises(RuntimeError, match="stopping"):
        tasks.start("late", stubborn())
