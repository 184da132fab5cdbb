"""PostgreSQL behind `Database`: the same storage functions, run over asyncpg on held connections.

`AsyncConnection.run_sync` lets plain functions over a `Connection` run without threads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog
from asyncpg.exceptions import (
    AdminShutdownError,
    CannotConnectNowError,
    CrashShutdownError,
    InterfaceError,
    InternalClientError,
    PostgresConnectionError,
)
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from homeserver.storage.database import (
    Commit,
    Database,
    DatabaseUnavailable,
    Job,
    Outcome,
    Relay,
    StorageClosed,
    Transaction,
    create_position,
    run_jobs,
)
from homeserver.storage.schema import prepare_schema

P = ParamSpec("P")
T = TypeVar("T")

_MOST_JOBS_IN_A_TRANSACTION = 256
_PATIENCE_S = 5.0
_LOSSES = (
    AdminShutdownError,
    CannotConnectNowError,
    CrashShutdownError,
    InterfaceError,
    InternalClientError,
    PostgresConnectionError,
    OSError,
)
_log = structlog.get_logger("homeserver.storage")
_SCHEMA_LOCK = 7_281_904_511  # any number, the same in every process: one of them prepares the schema


class PostgresDatabase(Database):
    """One PostgreSQL database, shared with any number of other processes."""

    def __init__(self, url: str, *, readers: int = 4, statement_timeout_ms: int = 60_000) -> None:
        super().__init__()
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=readers + 1,
            max_overflow=0,
            isolation_level="REPEATABLE READ",
            connect_args={
                "timeout": 10,
                "server_settings": {"statement_timeout": str(statement_timeout_ms), "application_name": "starling"},
            },
        )
        self._read_slots = asyncio.Semaphore(readers)
        self._writes: asyncio.Queue[Job] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self._write_connection: AsyncConnection | None = None
        self._relay: Relay | None = None
        self._telling: set[asyncio.Task[Any]] = set()
        self._look: Callable[[], Awaitable[None]] | None = None
        self._is_lost = False

    async def open(self) -> None:
        try:
            await self._prepare()
        except BaseException:
            await self._engine.dispose()
            raise
        self._writer = asyncio.create_task(self._write_loop(), name="storage-writer")

    async def _prepare(self) -> None:
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _SCHEMA_LOCK})
            await connection.commit()
            await connection.run_sync(prepare_schema)
            await connection.run_sync(create_position)
            await connection.commit()
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _SCHEMA_LOCK})
            await connection.commit()

    async def close(self) -> None:
        if self._writer is None:
            return
        await self._writes.join()
        if self._telling:
            await asyncio.wait(self._telling, timeout=_PATIENCE_S)
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        self._writer = None
        await self._close_write_connection()
        await self._engine.dispose()

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._writer is None:
            raise StorageClosed
        try:
            return await self._read(query, args, kwargs)
        except (DBAPIError, InterfaceError, OSError) as error:
            if not _is_loss(error):
                raise
        # The server went away between two reads: the pool has dropped the connection, a new one may work.
        try:
            return await self._read(query, args, kwargs)
        except (DBAPIError, InterfaceError, OSError) as error:
            if not _is_loss(error):
                raise
            raise DatabaseUnavailable from error

    async def write(self, change: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._writer is None:
            raise StorageClosed
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        function: Callable[..., T] = change
        if kwargs:
            function = lambda first, *rest: change(first, *rest, **kwargs)  # noqa: E731
        self._writes.put_nowait(Job(function, args, lambda result, error: _settle(future, result, error)))
        return await future

    async def _read(self, query: Callable[..., T], args: Any, kwargs: dict[str, Any]) -> T:
        async with self._read_slots, self._engine.connect() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    async def _write_loop(self) -> None:
        while True:
            jobs = [await self._writes.get()]
            while len(jobs) < _MOST_JOBS_IN_A_TRANSACTION and not self._writes.empty():
                jobs.append(self._writes.get_nowait())
            try:
                await self._commit(jobs)
            finally:
                for _ in jobs:
                    self._writes.task_done()

    async def _commit(self, jobs: list[Job]) -> None:
        try:
            outcomes, commit = await self._run_transaction(jobs)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the write
            if _is_loss(error):
                await self._note_loss(error)
                for job in jobs:
                    job.resolve(None, DatabaseUnavailable())
                return
            if len(jobs) == 1:
                jobs[0].resolve(None, error)
                return
            for job in jobs:
                await self._commit([job])
            return
        if self._relay is not None and (commit.changes or commit.position is not None):
            # The next transaction need not wait until the other processes have heard of this one.
            telling = asyncio.create_task(self._tell(self._relay, commit, outcomes))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
            return
        if commit.changes or commit.position is not None:
            self._announce(commit.changes, commit.position)
        _resolve(outcomes)

    @staticmethod
    async def _tell(relay: Relay, commit: Commit, outcomes: list[Outcome]) -> None:
        try:
            await relay(commit)
        finally:
            _resolve(outcomes)

    def relay_commits(self, relay: Relay) -> None:
        """Have commits handed to `relay` instead of announced; writers hear of theirs when it is done."""
        self._relay = relay

    def on_doubt(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look

    async def _note_loss(self, error: BaseException) -> None:
        if not self._is_lost:
            _log.error("the connection to the database is lost", problem=str(error).splitlines()[0][:200])
        self._is_lost = True
        with contextlib.suppress(Exception):
            await self._close_write_connection()

    def _note_return(self) -> None:
        self._is_lost = False
        _log.info("the database is back")
        if self._look is not None and self._relay is None:
            task: asyncio.Task[Any] = asyncio.ensure_future(self._look())
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _run_transaction(self, jobs: list[Job]) -> tuple[list[Outcome], Commit]:
        connection = await self._open_write_connection()
        try:
            async with connection.begin():
                done = await connection.run_sync(_run, jobs)
            if self._is_lost:
                self._note_return()
            return done
        finally:
            if connection.invalidated:
                await self._close_write_connection()

    async def _open_write_connection(self) -> AsyncConnection:
        """The connection all writes go through, held: taking one from the pool for each costs more than a statement."""
        if self._write_connection is None:
            connection = await self._engine.connect()
            # A writer waits for the counter's row lock, then must see what the holder committed.
            self._write_connection = await connection.execution_options(isolation_level="READ COMMITTED")
        return self._write_connection

    async def _close_write_connection(self) -> None:
        connection, self._write_connection = self._write_connection, None
        if connection is not None:
            await connection.close()


def _run(connection: Connection, jobs: list[Job]) -> tuple[list[Outcome], Commit]:
    transaction = Transaction(connection)
    outcomes = run_jobs(transaction, jobs)
    transaction.finish()
    return outcomes, transaction.commit


def _is_loss(error: BaseException) -> bool:
    """Whether the server, or the way to it, was lost: nothing is wrong with what was asked."""
    if isinstance(error, OSError | InterfaceError | InternalClientError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    cause = error.orig.__cause__ if error.orig is not None else None
    return error.connection_invalidated or isinstance(cause, _LOSSES)


def _resolve(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        outcome.job.resolve(outcome.result, outcome.error)


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
