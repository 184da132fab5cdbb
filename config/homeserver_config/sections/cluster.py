"""The section `cluster`: several identical processes on one PostgreSQL database.
The URL may hold a password, so it is a secret.
"""

from pydantic import Field

from homeserver_config.values import Secret, Section


class ClusterSettings(Section):
    """Several processes, on one machine or many, that share a PostgreSQL database; any request may go to any."""

    enabled: bool = Field(
        default=False,
        description="Whether other processes use the same database. homeserver run --processes N turns it on.",
    )
    redis_url: Secret | None = Field(
        default=None,
        description="redis://host:6379/0. Processes hear of each other's changes at once through it; without it they "
        "look into the database ten times a second, and typing and presence stay in their process.",
    )
