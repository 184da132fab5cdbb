"""What users keep on the server for themselves: profile, account data, filters, push rules.

Whatever clients see in /sync carries the log position of its last change.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

profiles = Table(
    "profiles",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("displayname", Text),
    Column("avatar_url", Text),
    Column("fields", LargeBinary, nullable=False),  # a JSON object of all other fields
    Column("position", BigInteger, nullable=False),
)
Index("ix_profiles_position", profiles.c.position)

account_data = Table(
    "account_data",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("position", BigInteger, nullable=False),
)
Index("ix_account_data_user_id_position", account_data.c.user_id, account_data.c.position)

room_account_data = Table(
    "room_account_data",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("room_id", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("position", BigInteger, nullable=False),
)
Index("ix_room_account_data_user_id_position", room_account_data.c.user_id, room_account_data.c.position)
Index("ix_room_account_data_room_id", room_account_data.c.room_id)

filters = Table(
    "filters",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("filter_id", Text, primary_key=True),
    Column("definition", LargeBinary, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
)
Index("ix_filters_used_ms", filters.c.used_ms)

push_rules = Table(
    "push_rules",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("ruleset", LargeBinary, nullable=False),  # what the user changed; the default rules are not repeated
    Column("position", BigInteger, nullable=False),
)
