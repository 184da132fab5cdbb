"""Application services registered at run time, what is being sent to each service, and the rooms of their networks.

How far a service has read the log stands with the other followers' positions.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

application_services = Table(
    "application_services",
    metadata,
    Column("appservice_id", Text, primary_key=True),
    Column("registration", LargeBinary, nullable=False),  # JSON
    Column("created_ms", BigInteger, nullable=False),
)

application_service_queues = Table(
    "application_service_queues",
    metadata,
    Column("appservice_id", Text, primary_key=True),
    # The transaction under way, kept as it was first sent until the service has it.
    Column("transaction_id", Text),
    Column("transaction_position", BigInteger),
    Column("transaction_body", LargeBinary),
    # JSON: [[user ID, device ID, position], ...], messages that are done with once the service has them.
    Column("transaction_devices", LargeBinary),
    Column("failing_since_ms", BigInteger),
    Column("pause_ms", BigInteger),
    Column("retry_at_ms", BigInteger),
)

network_rooms = Table(
    "network_rooms",
    metadata,
    Column("appservice_id", Text, primary_key=True),
    Column("network_id", Text, primary_key=True),
    Column("room_nid", BigInteger, primary_key=True, autoincrement=False),
)
