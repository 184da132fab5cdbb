"""Stores and reads what users reported.

The newest come first.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select

from homeserver.storage.database import Transaction
from homeserver.storage.tables.reports import reports


class Report(NamedTuple):
    """Who reported what, and why. Either an event with its room, a room, or a user."""

    reporter: str
    room_id: str | None
    event_id: str | None
    user_id: str | None
    reason: str | None
    created_ms: int


_INSERT = insert(reports)
_NEWEST = select(*(reports.c[name] for name in Report._fields)).order_by(reports.c.nid.desc()).limit(bindparam("most"))
_DELETE_OLD = delete(reports).where(reports.c.created_ms < bindparam("before_ms"))


def store_report(tx: Transaction, report: Report) -> None:
    """Keep a report."""
    tx.connection.execute(_INSERT, report._asdict())


def load_reports(connection: Connection, most: int) -> list[Report]:
    """The newest reports."""
    return [Report(*row) for row in connection.execute(_NEWEST, {"most": most})]


def delete_old_reports(tx: Transaction, before_ms: int) -> None:
    """Forget reports made before then."""
    tx.connection.execute(_DELETE_OLD, {"before_ms": before_ms})
