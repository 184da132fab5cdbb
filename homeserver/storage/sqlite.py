"""SQLite behind `Database`: reader threads with held connections, and one writer thread that commits in groups.

A thread hop is paid once per batch: whatever waits when the writer is free goes into its next transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from homeserver.storage.database import (
    LOG,
    Database,
    Job,
    Outcome,
    StorageClosed,
    Transaction,
    create_position,
    run_jobs,
)
from homeserver.storage.schema import prepare_schema

if TYPE_CHECKING:
    from homeserver.storage.changes import Change

P = ParamSpec("P")
T = TypeVar("T")

_MOST_JOBS_IN_A_TRANSACTION = 256
_STOP = None
_POSITION = "SELECT value FROM positions WHERE name = ?"


class SqliteDatabase(Database):
    """One SQLite file (WAL)."""

    def __init__(self, path: Path, *, readers: int = 2, synchronous: str = "FULL", cache_kib: int = 16_384) -> None:
        super().__init__()
        self._engine = _create_engine(path, synchronous, cache_kib)
        self._readers = readers
        self._reads: SimpleQueue[Job | None] = SimpleQueue()
        self._writes: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._outcomes = _Mailbox()
        self._closed = True

    async def open(self) -> None:
        self._outcomes.bind(asyncio.get_running_loop())
        await asyncio.to_thread(self._prepare)
        self._closed = False
        self._start(self._write_loop, "storage-writer")
        for number in range(self._readers):
            self._start(self._read_loop, f"storage-reader-{number}")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writes.put(_STOP)
        for _ in range(self._readers):
            self._reads.put(_STOP)
        await asyncio.to_thread(self._join)
        self._engine.dispose()

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._submit(self._reads, query, args, kwargs)

    async def write(self, change: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._submit(self._writes, change, args, kwargs)

    def _submit(
        self, queue: SimpleQueue[Job | None], function: Callable[..., T], args: Any, kwargs: dict[str, Any]
    ) -> asyncio.Future[T]:
        if self._closed:
            raise StorageClosed
        if kwargs:
            positional = function
            function = lambda first, *rest: positional(first, *rest, **kwargs)  # noqa: E731
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue.put(Job(function, args, lambda result, error: _settle(future, result, error)))
        return future

    def _prepare(self) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            prepare_schema(connection)
            create_position(connection)
            connection.exec_driver_sql("COMMIT")

    def _start(self, loop: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _read_loop(self) -> None:
        with self._engine.connect() as connection:
            begin, end = _transaction_of(connection, "BEGIN")
            while (job := self._reads.get()) is not _STOP:
                outcome = Outcome(job)
                begin()
                try:
                    outcome.result = job.change(connection, *job.args)
                except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the read
                    outcome.error = error
                finally:
                    end("COMMIT")
                self._outcomes.post([outcome])

    def _write_loop(self) -> None:
        with self._engine.connect() as connection:
            stopping = False
            while not stopping:
                jobs, stopping = _take_waiting(self._writes)
                if jobs:
                    self._commit(connection, jobs)

    def _commit(self, connection: Connection, jobs: list[Job]) -> None:
        try:
            outcomes, changes, position = _run_transaction(connection, jobs)
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the write
            if len(jobs) == 1:
                self._outcomes.post([Outcome(jobs[0], error=error)])
                return
            for job in jobs:
                self._commit(connection, [job])
            return
        if changes or position is not None:
            self._outcomes.post(outcomes, lambda: self._announce(changes, position))
        else:
            self._outcomes.post(outcomes)


class _Mailbox:
    """Brings outcomes from the storage threads to the event loop, with one wake-up for all that are waiting."""

    def __init__(self) -> None:
        self._waiting: list[tuple[list[Outcome], Callable[[], None] | None]] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def post(self, outcomes: list[Outcome], then: Callable[[], None] | None = None) -> None:
        with self._lock:
            self._waiting.append((outcomes, then))
            first = len(self._waiting) == 1
        if first and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for outcomes, then in waiting:
            # Followers hear of the change before its writer does, so that a writer's next read sees them informed.
            if then is not None:
                then()
            for outcome in outcomes:
                outcome.job.resolve(outcome.result, outcome.error)


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _take_waiting(queue: SimpleQueue[Job | None]) -> tuple[list[Job], bool]:
    """Wait for one job, then take all others that are there; True when the queue is to be closed after them."""
    first = queue.get()
    if first is _STOP:
        return [], True
    jobs = [first]
    while len(jobs) < _MOST_JOBS_IN_A_TRANSACTION and not queue.empty():
        job = queue.get()
        if job is _STOP:
            return jobs, True
        jobs.append(job)
    return jobs, False


def _run_transaction(connection: Connection, jobs: list[Job]) -> tuple[list[Outcome], list[Change], int | None]:
    begin, end = _transaction_of(connection, "BEGIN IMMEDIATE")
    begin()
    try:
        transaction = Transaction(connection, _position_of(connection))
        outcomes = run_jobs(transaction, jobs)
        position = transaction.finish()
    except BaseException:
        end("ROLLBACK")
        raise
    end("COMMIT")
    return outcomes, transaction.announced, position


def _position_of(connection: Connection) -> int:
    """Where the log stands, asked of the driver for the same reason as BEGIN below."""
    driver = connection.connection.driver_connection
    assert driver is not None
    return int(driver.execute(_POSITION, (LOG,)).fetchone()[0])


def _transaction_of(connection: Connection, opening: str) -> tuple[Callable[[], None], Callable[[str], None]]:
    """BEGIN and COMMIT straight at the driver: SQLAlchemy's own cost five times as much as SQLite's."""
    driver = connection.connection.driver_connection
    assert driver is not None

    def begin() -> None:
        driver.execute(opening)

    def end(closing: str) -> None:
        if driver.in_transaction:
            driver.execute(closing)

    return begin, end


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _create_engine(path: Path, synchronous: str, cache_kib: int) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "cached_statements": 512, "timeout": 30.0},
    )

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            f"cache_size=-{cache_kib}",
            "temp_store=MEMORY",
            "foreign_keys=OFF",
            "wal_autocheckpoint=2000",
        ):
            connection.execute(f"PRAGMA {pragma}")
        # SQLite's own knows the letters of ASCII only.
        connection.create_function("lower", 1, _lower, deterministic=True)

    return engine
