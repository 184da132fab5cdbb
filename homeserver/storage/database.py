"""Runs storage functions: reads side by side, writes one after another and many to a transaction (group commit).

Two engines, one face: SQLite in a few reader threads and one writer thread, PostgreSQL over asyncpg.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import bindparam, insert, select, update

from homeserver.protocol.errors import MatrixError
from homeserver.storage.hot_statements import HotStatement
from homeserver.storage.tables.log import positions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.changes import Change

P = ParamSpec("P")
T = TypeVar("T")

LOG = "log"
_SELECT_POSITION = select(positions.c.value).where(positions.c.name == LOG)
_LOCK_POSITION = _SELECT_POSITION.with_for_update()
_STORE_POSITION = HotStatement(
    update(positions).where(positions.c.name == bindparam("log")).values(value=bindparam("new_value"))
)
_FIRST_POSITION = insert(positions).values(name=LOG, value=0)

Query = Callable[Concatenate["Connection", P], T]
ChangeFunction = Callable[Concatenate["Transaction", P], T]


class DatabaseUnavailable(MatrixError):
    """The database cannot be reached. Whether a write under way was committed is not known."""

    def __init__(self) -> None:
        super().__init__("M_UNKNOWN", "The database cannot be reached just now. Try again in a moment.", 503)


class StorageClosed(Exception):
    """The database was asked for something after it was closed."""


def load_position(connection: Connection) -> int:
    """The position of the newest committed change, as this connection's snapshot sees it."""
    return int(connection.execute(_SELECT_POSITION).scalar_one())


def create_position(connection: Connection) -> None:
    """Give a new database its counter."""
    if connection.execute(_SELECT_POSITION).first() is None:
        connection.execute(_FIRST_POSITION)


class Transaction:
    """One group commit under way. Writers get their connection and their positions from it."""

    __slots__ = ("_first", "_known", "_position", "announced", "connection")

    def __init__(self, connection: Connection, known_position: int | None = None) -> None:
        """`known_position` is the counter where this transaction keeps everybody else from writing, as SQLite's do."""
        self.connection = connection
        self.announced: list[Change] = []
        self._known = known_position
        self._first: int | None = None
        self._position = 0

    def next_position(self) -> int:
        """The log position of one durable change, or the number of a new row of events or state groups.

        The first call takes the counter's row lock until commit.
        """
        if self._first is None:
            known = self._known
            if known is None:
                known = int(self.connection.execute(_LOCK_POSITION).scalar_one())
            self._first = self._position = known
        self._position += 1
        return self._position

    def announce(self, change: Change) -> None:
        """Hand `change` to whoever waits for the log, after the commit."""
        self.announced.append(change)

    @property
    def commit(self) -> Commit:
        """What there is to tell of it, once it is finished and committed."""
        if self._first is None or self._position == self._first:
            return Commit(self.announced, None, None)
        return Commit(self.announced, self._first, self._position)

    def finish(self) -> int | None:
        """Store the counter; the new position, or None when nothing took one."""
        if self._first is None or self._position == self._first:
            return None
        _STORE_POSITION.execute(self.connection, {"log": LOG, "new_value": self._position})
        return self._position


@dataclass(slots=True)
class Job:
    """A queued change: what to run, and where its outcome goes."""

    change: Callable[..., Any]
    args: tuple[Any, ...]
    resolve: Callable[[Any, BaseException | None], None]


@dataclass(slots=True)
class Outcome:
    """What became of a job: its result, or the error that it alone is to see."""

    job: Job
    result: Any = None
    error: BaseException | None = None


def run_jobs(transaction: Transaction, jobs: Sequence[Job]) -> list[Outcome]:
    """Run `jobs` in order inside one transaction. Any failure ends the whole run, so that the caller rolls back."""
    return [Outcome(job, job.change(transaction, *job.args)) for job in jobs]


Announce = Callable[[Sequence["Change"], "int | None"], None]


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction made public: it took the positions after `after` up to `position`, if any."""

    changes: Sequence[Change]
    after: int | None
    position: int | None

    def without_details(self) -> Commit:
        """The same for those who can read the facts themselves."""
        return Commit([replace(change, detail=None) for change in self.changes], self.after, self.position)


Relay = Callable[[Commit], Awaitable[None]]


def _tell_nobody(changes: Sequence[Change], position: int | None) -> None:
    """What a database announces to before anybody asked to hear."""


class Database(ABC):
    """The seam between services and SQL."""

    def __init__(self) -> None:
        self._announce: Announce = _tell_nobody

    @abstractmethod
    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query(connection, ...)` in one consistent snapshot and hand back what it returns."""

    @abstractmethod
    async def write(self, change: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `change(transaction, ...)` and commit it, together with whatever else is queued.

        Returns after the commit. `change` must have no effect but SQL: when a neighbour in the same transaction
        fails, the transaction is rolled back and every change runs again in one of its own.
        """

    @abstractmethod
    async def open(self) -> None:
        """Connect, and create the schema of a new database or bring an older one up to date."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued and let go of all connections."""

    def relay_commits(self, relay: Relay) -> None:
        """Have commits handed to `relay` instead of announced; writers hear of theirs when it is done."""
        raise NotImplementedError("this database belongs to one process")

    def on_doubt(self, look: Callable[[], Awaitable[None]]) -> None:
        """Have `look()` awaited when the connection is back after it was lost: a commit may not have been announced."""
        del look  # an embedded database has no connection to lose

    def on_commit(self, announce: Announce) -> None:
        """Have `announce(changes, position)` called in the event loop after every commit that changed the log."""
        self._announce = announce
