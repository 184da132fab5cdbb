"""A server people reach at https://matrix.example.org, its clock in the test's hand, and somebody with a password."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from oauth_kit import BASEURL, PASSWORD, App, Browser, callback_of
from server_kit import Server, running_server

from homeserver.runtime.clock import ManualClock
from homeserver.storage.database import Database

SECTIONS = {
    "server": {"server_name": "example.org", "public_baseurl": BASEURL},
    "passwords": {"argon2_memory": 8192, "argon2_iterations": 1},
}


@dataclass
class Scene:
    """The server, its clock, and a browser nobody has used yet."""

    server: Server
    clock: ManualClock
    browser: Browser

    async def app(self, metadata: dict[str, object] | None = None) -> App:
        return await App(self.server.client).register(metadata)

    async def person(self, name: str = "alice") -> str:
        user = await self.server.homeserver.accounts.accounts.create(name, password=PASSWORD)
        return user.user_id

    async def log_in(self, name: str = "alice") -> None:
        """Log the browser in, at the account page."""
        await self.browser.open("/_starling/client/account")
        answer = await self.browser.submit(username=name, password=PASSWORD)
        assert answer.status == 200, answer.body
        assert "Your account" in self.browser.text

    async def authorised(self, app: App, device_id: str = "ELEMENTX01", **changes: str) -> App:
        """The app with tokens of whoever is logged in in the browser."""
        await self.browser.open(app.authorization_url(device_id, **changes))
        back = callback_of(await self.browser.submit(decision="allow"))
        answer = await app.redeem(back["code"])
        assert answer.status == 200, answer.body
        return app

    async def advance(self, seconds: float) -> None:
        """Move the clock at once: what runs every few seconds need not be seen to."""
        self.clock._passed += seconds


async def scene_in(folder: Path, database: Database | None = None, **sections: object) -> AsyncIterator[Scene]:
    clock = ManualClock(1_800_000_000_000)
    settings = {**SECTIONS, **sections}
    server_section = dict(settings["server"]) | {"data_directory": str(folder)}  # type: ignore[call-overload]
    async with running_server(folder, database, clock=clock, **{**settings, "server": server_section}) as server:
        yield Scene(server, clock, Browser(server.client))


@pytest.fixture
async def scene(tmp_path: Path, closed_database: Database) -> AsyncIterator[Scene]:
    """On each kind of database."""
    async for made in scene_in(tmp_path, closed_database):
        yield made


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[Scene]:
    """On SQLite only, for what does not depend on the database."""
    async for made in scene_in(tmp_path):
        yield made
