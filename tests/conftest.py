"""Fixtures for all tests: PostgreSQL and Redis servers, shared by the whole run and started when first asked for.
No test is skipped for want of a server: a machine without one gets it from a wheel.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cluster_kit import running_processes
from server_kit import Server, running_server
from servers import PostgresServer, SharedServers
from spec_coverage import Notes

from homeserver.storage.database import Database
from homeserver.storage.postgres import PostgresDatabase
from homeserver.storage.sqlite import SqliteDatabase
from homeserver.web.endpoint import Route
from homeserver.web.request import Request
from homeserver.web.runner import EndpointRunner

_SHARED = pytest.StashKey[SharedServers]()
_NOTES = pytest.StashKey[Notes]()
_numbers = count()


def pytest_configure(config: pytest.Config) -> None:
    """The controller makes the servers' folder; xdist workers get it from there."""
    worker_input: dict[str, str] | None = getattr(config, "workerinput", None)
    if worker_input is None:
        config.stash[_SHARED] = SharedServers.new()
    else:
        config.stash[_SHARED] = SharedServers(Path(worker_input["servers_folder"]))
    if "SPEC_COVERAGE" in os.environ:
        config.stash[_NOTES] = note_calls(Path(os.environ["SPEC_COVERAGE"]))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["servers_folder"] = str(node.config.stash[_SHARED].folder)


def note_calls(folder: Path) -> Notes:
    """Note which test calls which endpoint, for docs/spec_coverage.md."""
    notes, run = Notes(folder), EndpointRunner.run

    async def noting(runner: EndpointRunner, route: Route, request: Request) -> Any:
        answer = await run(runner, route, request)
        notes.note(route, request.method)
        return answer

    EndpointRunner.run = noting  # type: ignore[method-assign]
    return notes


def pytest_unconfigure(config: pytest.Config) -> None:
    if _NOTES in config.stash:
        config.stash[_NOTES].store()
    if not hasattr(config, "workerinput") and _SHARED in config.stash:
        config.stash[_SHARED].stop()


@pytest.fixture(scope="session")
def worker_number(request: pytest.FixtureRequest) -> int:
    """0 for the first xdist worker or a run without xdist, 1 for the second and so on."""
    worker_input: dict[str, str] = getattr(request.config, "workerinput", {})
    return int(worker_input.get("workerid", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> PostgresServer:
    """The PostgreSQL server of this run."""
    return request.config.stash[_SHARED].postgres()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer, worker_number: int) -> str:
    """An empty database of this worker's own, for the whole session."""
    return postgres_server.create_database(f"worker_{worker_number}")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer, worker_number: int) -> str:
    """The name of a database with the schema in it, to be copied."""
    name = f"template_{worker_number}"
    url = postgres_server.create_database(name)

    async def prepare() -> None:
        database = PostgresDatabase(url)
        await database.open()
        await database.close()

    asyncio.run(prepare())
    return name


@pytest.fixture
def fresh_postgres_url(postgres_server: PostgresServer, postgres_template: str, worker_number: int) -> Iterator[str]:
    """A database of this test's own with the schema in it: a copy of the template, made in milliseconds."""
    name = f"test_{worker_number}_{next(_numbers)}"
    yield postgres_server.create_database(name, postgres_template)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest, worker_number: int) -> str:
    """A Redis database of this worker's own. Channels are shared by all: use a prefix of your own for them."""
    return request.config.stash[_SHARED].redis().url(worker_number)


@pytest.fixture(params=["sqlite", "postgres"])
def closed_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A new database of each kind, not yet open. Not async: the PostgreSQL fixture runs an event loop of its own."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "test.db", synchronous="OFF")
    return PostgresDatabase(request.getfixturevalue("fresh_postgres_url"))


@pytest.fixture
async def server(request: pytest.FixtureRequest, tmp_path: Path, closed_database: Database) -> AsyncIterator[Server]:
    """A running homeserver on each kind of database.

    `TEST_PROCESSES=3` makes it three processes where the database allows it, and requests go to any of them.
    """
    number = int(os.environ.get("TEST_PROCESSES", "1"))
    if number > 1 and isinstance(closed_database, PostgresDatabase):
        url = request.getfixturevalue("fresh_postgres_url")
        async with running_processes(tmp_path, url, number) as processes:
            yield processes
        return
    async with running_server(tmp_path, closed_database) as running:
        yield running
