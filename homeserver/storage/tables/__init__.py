"""The typed SQLAlchemy Core tables, one module per subject; importing this package registers all of them.

Row numbers end in `_nid` and never leave `homeserver.storage`.
"""

from homeserver.storage.tables import (
    accounts,
    application_services,
    delayed_events,
    destinations,
    device_keys,
    events,
    key_backups,
    leases,
    log,
    media,
    oauth,
    openid,
    plugin_data,
    pushers,
    reports,
    rooms,
    search,
    server_keys,
    sessions,
    sliding_sync,
    third_party_ids,
    to_device,
    user_data,
)
from homeserver.storage.tables.metadata import metadata

__all__ = [
    "accounts",
    "application_services",
    "delayed_events",
    "destinations",
    "device_keys",
    "events",
    "key_backups",
    "leases",
    "log",
    "media",
    "metadata",
    "oauth",
    "openid",
    "plugin_data",
    "pushers",
    "reports",
    "rooms",
    "search",
    "server_keys",
    "sessions",
    "sliding_sync",
    "third_party_ids",
    "to_device",
    "user_data",
]
