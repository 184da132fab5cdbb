"""Whatever the network does to what servers send each other, in the end they agree about the state of a room.

Runs 20 seeds; set `SIMULATION_SEEDS=200` for more, or `SIMULATION_SEED=7` for that one alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from simulation.world import Story, running_world

_SEEDS_IN_A_WORLD = 5


def _seeds() -> list[int]:
    if "SIMULATION_SEED" in os.environ:
        return [int(os.environ["SIMULATION_SEED"])]
    return list(range(int(os.environ.get("SIMULATION_SEEDS", "20"))))


async def test_servers_agree_in_the_end(tmp_path: Path) -> None:
    seeds = _seeds()
    for first in range(0, len(seeds), _SEEDS_IN_A_WORLD):
        folder = tmp_path / str(first)
        folder.mkdir()
        async with running_world(folder) as world:
            for seed in seeds[first : first + _SEEDS_IN_A_WORLD]:
                story = Story(world, seed)
                try:
                    await story.run()
                except BaseException:
                    print(f"seed {seed}, room version {story.version}:", *story.log, sep="\n")
                    raise
