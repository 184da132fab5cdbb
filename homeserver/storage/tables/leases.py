"""Who of a server's processes does what only one may do, and until when."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from homeserver.storage.tables.metadata import metadata

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)
