"""matrix-js-sdk, the library of Element Web, tells its stories against a running server: see the scripts in `js`."""

from __future__ import annotations

import pytest
from interop.node import install_packages, run_script
from server_process import ServerProcess


@pytest.fixture(scope="session", autouse=True)
def _packages() -> None:
    install_packages()


@pytest.mark.parametrize("script", ["encryption", "verification", "conversation", "sliding"])
async def test_stories(shared_server: ServerProcess, script: str) -> None:
    await run_script(script, shared_server.url, seconds=240)
