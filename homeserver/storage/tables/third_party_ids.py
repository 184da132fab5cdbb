"""E-mail addresses and telephone numbers of accounts, the sessions that confirm them, and e-mail that waits.

A message is a row until the mail server has taken it, so that neither a restart nor an outage loses one.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text

from homeserver.storage.tables.metadata import RowNumber, metadata

user_third_party_ids = Table(
    "user_third_party_ids",
    metadata,
    Column("medium", Text, primary_key=True),  # email or msisdn
    Column("address", Text, primary_key=True),  # canonical
    Column("user_id", Text, nullable=False),
    Column("validated_ms", BigInteger, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
)
Index("ix_user_third_party_ids_user_id", user_third_party_ids.c.user_id)

third_party_id_bindings = Table(
    "third_party_id_bindings",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("medium", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("id_server", Text, primary_key=True),
)

validation_sessions = Table(
    "validation_sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("purpose", Text, nullable=False),  # register, password or add
    Column("medium", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),  # of the client's secret
    Column("link_hash", Text, nullable=False),
    Column("code_hash", Text, nullable=False),
    Column("send_attempt", BigInteger, nullable=False),
    Column("next_link", Text),
    Column("wrong_guesses", Integer, nullable=False, server_default=text("0")),
    Column("expires_ms", BigInteger, nullable=False),
    Column("validated_ms", BigInteger),
    UniqueConstraint("purpose", "medium", "address", "secret_hash", name="uq_validation_sessions"),
)
Index("ix_validation_sessions_expires_ms", validation_sessions.c.expires_ms)

outgoing_mail = Table(
    "outgoing_mail",
    metadata,
    Column("mail_nid", RowNumber, primary_key=True, autoincrement=True),
    Column("mail", LargeBinary, nullable=False),  # JSON
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_outgoing_mail_due_ms", outgoing_mail.c.due_ms)
