"""Statements of the hottest paths, compiled once for each kind of database and handed to the driver as text.

Going through SQLAlchemy costs four times what SQLite needs for a row, and more on a processor that has just woken up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ClauseElement


class _Compiled(NamedTuple):
    text: str
    parameters: tuple[str, ...]


class HotStatement:
    """An INSERT or UPDATE without a result. Every row it gets has the same `columns`, of types both drivers know."""

    def __init__(self, statement: Executable, columns: Sequence[str] = ()) -> None:
        assert isinstance(statement, ClauseElement)
        self._statement = statement
        self._columns = list(columns) or None
        self._compiled: dict[str, _Compiled] = {}

    def execute(self, connection: Connection, row: Mapping[str, Any]) -> int:
        """Run it for one row; how many rows it touched."""
        compiled = self._compiled.get(connection.dialect.name) or self._compile(connection)
        values = tuple([row[name] for name in compiled.parameters])
        if connection.dialect.name == "sqlite":
            driver = connection.connection.driver_connection
            assert driver is not None
            try:
                return int(driver.execute(compiled.text, values).rowcount)
            except sqlite3.Error as error:
                # What callers catch is what SQLAlchemy would have raised.
                raise DBAPIError.instance(compiled.text, None, error, sqlite3.Error) from error
        return connection.exec_driver_sql(compiled.text, values).rowcount

    def _compile(self, connection: Connection) -> _Compiled:
        compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=self._columns)
        done = self._compiled[connection.dialect.name] = _Compiled(str(compiled), tuple(compiled.positiontup))
        return done
