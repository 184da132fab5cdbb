"""Clock and randomness: the tame ones do what tests rely on, the real ones what the server relies on."""

import asyncio
import time

import pytest

from homeserver.runtime.clock import ManualClock, SystemClock
from homeserver.runtime.randomness import Randomness, SeededRandomness, SystemRandomness


async def test_the_systems_clock() -> None:
    clock = SystemClock()
    assert abs(clock.now_ms() - time.time() * 1000) < 1000
    before = clock.monotonic()
    await clock.sleep(0.001)
    await clock.sleep(-1)
    assert clock.monotonic() > before


async def test_a_manual_clock_wakes_sleepers_in_order_and_lets_them_sleep_again() -> None:
    clock = ManualClock(now_ms=5_000)
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, seconds: float) -> None:
        while True:
            await clock.sleep(seconds)
            woken.append((name, clock.now_ms()))

    tasks = [asyncio.ensure_future(sleeper("slow", 3)), asyncio.ensure_future(sleeper("quick", 2))]
    await clock.advance(1.9)
    assert woken == []
    await clock.advance(4.1)
    assert woken == [("quick", 7_000), ("slow", 8_000), ("quick", 9_000), ("slow", 11_000), ("quick", 11_000)]
    assert (clock.now_ms(), clock.monotonic()) == (11_000, 6.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await clock.advance(10)
    assert len(woken) == 5


@pytest.mark.parametrize("randomness", [SystemRandomness(), SeededRandomness(7)])
def test_shapes(randomness: Randomness) -> None:
    assert len(randomness.bytes(9)) == 9
    assert len(randomness.token()) == 43
    assert len({randomness.token() for _ in range(50)}) == 50
    room = randomness.room_localpart()
    assert len(room) == 18
    assert room.isascii()
    assert room.isalpha()
    code = randomness.digits(6)
    assert len(code) == 6
    assert code.isdigit()
    assert {randomness.below(3) for _ in range(200)} == {0, 1, 2}
    assert randomness.below(1) == 0
    assert all(2.0 <= randomness.uniform(2.0, 3.0) < 3.0 for _ in range(100))


def test_one_seed_decides_all() -> None:
    first, second, other = SeededRandomness("a"), SeededRandomness("a"), SeededRandomness("b")
    assert [first.token(), first.letters(5), first.uniform(0, 1)] == [
        second.token(),
        second.letters(5),
        second.uniform(0, 1),
    ]
    assert first.token() != other.token()


def test_letters_are_even() -> None:
    letters = SeededRandomness(1).letters(52_000)
    counts = [letters.count(letter) for letter in set(letters)]
    assert len(counts) == 52
    assert min(counts) > 850
    assert max(counts) < 1150
