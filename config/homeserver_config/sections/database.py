"""The section `database`: SQLite, embedded and without any other service, or PostgreSQL.
The URL may hold a password, so it is a secret.
"""

from typing import Literal

from pydantic import Field

from homeserver_config.values import ByteSize, Duration, Secret, Section


class DatabaseSettings(Section):
    """Where the data lives: an embedded SQLite file, or PostgreSQL for more load and several processes."""

    url: Secret | None = Field(
        default=None,
        description="sqlite:///path or postgresql://user:password@host/name. "
        "Without it: homeserver.db in the data directory.",
    )
    synchronous: Literal["full", "normal"] = Field(
        default="full",
        description="SQLite only: full survives a power cut; "
        "normal is faster and may lose the last moments, but never its order.",
    )
    reader_threads: int = Field(default=4, ge=1, le=64, description="SQLite only: how many reads run side by side.")
    cache_size: ByteSize = Field(
        default=ByteSize.parse("64M"), description="SQLite only: the page cache of a connection."
    )
    pool_size: int = Field(default=8, ge=1, le=200, description="PostgreSQL only: connections held for reads.")
    connect_timeout: Duration = Field(
        default=Duration.parse("10s"), description="PostgreSQL only: how long to wait for a connection at the start."
    )
