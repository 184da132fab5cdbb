"""The typed SQLAlchemy Core tables, one module per subject; importing this package registers all of them.

Row numbers end in `_nid` and never leave `homeserver.storage`.
"""

from homeserver.storage.tables import accounts, events, log, media, rooms, sessions, user_data
from homeserver.storage.tables.metadata import metadata

__all__ = ["accounts", "events", "log", "media", "metadata", "rooms", "sessions", "user_data"]
