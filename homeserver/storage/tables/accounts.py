"""The accounts of this server, and the registration tokens that let people open one.

A deactivated account keeps its row for ever: its user ID is never given to anyone else.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, false

from homeserver.storage.tables.metadata import metadata

users = Table(
    "users",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # user, guest, bot or support
    Column("admin", Boolean, nullable=False, server_default=false()),
    Column("created_ms", BigInteger, nullable=False),
    Column("password_hash", Text),
    Column("appservice_id", Text),
    Column("consent_version", Text),
    Column("deactivated", Boolean, nullable=False, server_default=false()),
    Column("erased", Boolean, nullable=False, server_default=false()),
    Column("locked", Boolean, nullable=False, server_default=false()),
    Column("suspended", Boolean, nullable=False, server_default=false()),
    Column("rate_limit_exempt", Boolean, nullable=False, server_default=false()),
    Column("leaving_rooms", Boolean, nullable=False, server_default=false()),  # deactivated, departure under way
)
Index("ix_users_created_ms", users.c.created_ms)
Index(
    "ix_users_leaving_rooms",
    users.c.user_id,
    sqlite_where=users.c.leaving_rooms,
    postgresql_where=users.c.leaving_rooms,
)

registration_tokens = Table(
    "registration_tokens",
    metadata,
    Column("token", Text, primary_key=True),
    Column("uses_allowed", Integer),
    Column("pending", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("expires_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
)
