"""The typed SQLAlchemy Core tables, one module per subject; importing this package registers all of them.

Row numbers end in `_nid` and never leave `homeserver.storage`.
"""

from homeserver.storage.tables import accounts, events, log, plugin_data, pushers, rooms, sessions, user_data
from homeserver.storage.tables.metadata import metadata

__all__ = ["accounts", "events", "log", "metadata", "plugin_data", "pushers", "rooms", "sessions", "user_data"]
