"""The typed SQLAlchemy Core tables, one module per subject; importing this package registers all of them.

Row numbers end in `_nid` and never leave `homeserver.storage`.
"""

from homeserver.storage.tables import (
    accounts,
    device_keys,
    events,
    key_backups,
    log,
    media,
    plugin_data,
    pushers,
    reports,
    rooms,
    sessions,
    to_device,
    user_data,
)
from homeserver.storage.tables.metadata import metadata

__all__ = [
    "accounts",
    "device_keys",
    "events",
    "key_backups",
    "log",
    "media",
    "metadata",
    "plugin_data",
    "pushers",
    "reports",
    "rooms",
    "sessions",
    "to_device",
    "user_data",
]
