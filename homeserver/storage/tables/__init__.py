"""The typed SQLAlchemy Core tables, one module per subject; importing this package registers all of them.

Row numbers end in `_nid` and never leave `homeserver.storage`.
"""

from homeserver.storage.tables import log
from homeserver.storage.tables.metadata import metadata

__all__ = ["log", "metadata"]
