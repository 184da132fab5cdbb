"""The search index.

Revision: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "search_entries",
        sa.Column("event_nid", ROW_NUMBER, primary_key=True, autoincrement=False),
        sa.Column("room_nid", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
    )
    op.create_index("ix_search_entries_room_nid", "search_entries", ["room_nid"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE search_words USING fts5("
            "terms, content='search_entries', content_rowid='event_nid', detail='column',"
            " tokenize=\"unicode61 remove_diacritics 0 categories 'L* N* Co'\")"
        )
    else:
        op.execute(
            "CREATE INDEX ix_search_entries_terms ON search_entries"
            " USING gin (array_to_tsvector(string_to_array(terms, ' ')))"
        )
