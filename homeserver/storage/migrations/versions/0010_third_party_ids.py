"""E-mail addresses and telephone numbers, the sessions that confirm them, and e-mail that waits.

Revision: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "user_third_party_ids",
        sa.Column("medium", sa.Text(), primary_key=True),
        sa.Column("address", sa.Text(), primary_key=True),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("validated_ms", sa.BigInteger(), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_user_third_party_ids_user_id", "user_third_party_ids", ["user_id"])
    op.create_table(
        "third_party_id_bindings",
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("medium", sa.Text(), primary_key=True),
        sa.Column("address", sa.Text(), primary_key=True),
        sa.Column("id_server", sa.Text(), primary_key=True),
    )
    op.create_table(
        "validation_sessions",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("link_hash", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("send_attempt", sa.BigInteger(), nullable=False),
        sa.Column("next_link", sa.Text()),
        sa.Column("wrong_guesses", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("validated_ms", sa.BigInteger()),
        sa.UniqueConstraint("purpose", "medium", "address", "secret_hash", name="uq_validation_sessions"),
    )
    op.create_index("ix_validation_sessions_expires_ms", "validation_sessions", ["expires_ms"])
    op.create_table(
        "outgoing_mail",
        sa.Column("mail_nid", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("mail", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outgoing_mail_due_ms", "outgoing_mail", ["due_ms"])
