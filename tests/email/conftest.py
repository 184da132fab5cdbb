"""A mail server, and homeservers that send through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mail_server import MailServer
from plugin_kit import server_with
from server_kit import Server

from homeserver.storage.database import Database


@pytest.fixture
async def post() -> AsyncIterator[MailServer]:
    mail_server = MailServer()
    await mail_server.up()
    try:
        yield mail_server
    finally:
        await mail_server.down()


@pytest.fixture
async def birdhouse(tmp_path: Path, post: MailServer, closed_database: Database) -> AsyncIterator[Server]:
    """A homeserver on each kind of database."""
    plugins = ("password_login", "push_email")
    async with server_with(tmp_path, *plugins, email=post.settings(), database=closed_database) as server:
        yield server
