"""The server's SQLite database without threads: what is asked of it is done at the next turn of the event loop."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from homeserver.storage.database import Job, Outcome, StorageClosed, Transaction
from homeserver.storage.sqlite import SqliteDatabase, _run_transaction, _settle, _transaction_of

P = ParamSpec("P")
T = TypeVar("T")


class SimulatedDatabase(SqliteDatabase):
    """Reads one by one; the writes that wait at the same moment in one transaction."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, synchronous="OFF")
        self._connection: Connection | None = None
        self._reading: list[Job] = []
        self._writing: list[Job] = []

    async def open(self) -> None:
        self._prepare()
        self._connection = self._engine.connect()
        self._closed = False

    async def close(self) -> None:
        if self._closed:
            return
        self._work()
        self._closed = True
        assert self._connection is not None
        self._connection.close()
        self._engine.dispose()

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._queue(self._reading, query, args, kwargs)

    async def write(self, change: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._queue(self._writing, change, args, kwargs)

    def _queue(
        self, queue: list[Job], function: Callable[..., T], args: Any, kwargs: dict[str, Any]
    ) -> asyncio.Future[T]:
        if self._closed:
            raise StorageClosed
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._reading and not self._writing:
            loop.call_soon(self._work)
        queue.append(
            Job(
                lambda first, *rest: function(first, *rest, **kwargs),
                args,
                lambda result, error: _settle(future, result, error),
            )
        )
        return future

    def _work(self) -> None:
        if self._closed:
            return
        assert self._connection is not None
        reads, self._reading = self._reading, []
        writes, self._writing = self._writing, []
        if writes:
            self._write(self._connection, writes)
        for job in reads:
            self._read(self._connection, job)

    def _read(self, connection: Connection, job: Job) -> None:
        begin, end = _transaction_of(connection, "BEGIN")
        begin()
        try:
            outcome = Outcome(job, job.change(connection, *job.args))
        except Exception as error:  # noqa: BLE001 (handed to whoever awaits the read)
            outcome = Outcome(job, error=error)
        finally:
            end("COMMIT")
        job.resolve(outcome.result, outcome.error)

    def _write(self, connection: Connection, jobs: list[Job]) -> None:
        try:
            outcomes, changes, position = _run_transaction(connection, jobs)
        except Exception as error:  # noqa: BLE001 (handed to whoever awaits the write)
            if len(jobs) == 1:
                jobs[0].resolve(None, error)
                return
            for job in jobs:
                self._write(connection, [job])
            return
        if changes or position is not None:
            self._announce(changes, position)
        for outcome in outcomes:
            outcome.job.resolve(outcome.result, outcome.error)


def copy_of(template: Path, path: Path) -> SimulatedDatabase:
    """A database that begins as a copy of another's file, unless it is there already."""
    if not path.exists():
        if not template.exists():
            _create(template)
        shutil.copyfile(template, path)
    return SimulatedDatabase(path)


def _create(path: Path) -> None:
    database = SqliteDatabase(path, synchronous="OFF")
    database._prepare()
    with database._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database._engine.dispose()
