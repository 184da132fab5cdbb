"""The section `redis`: needed as soon as several processes serve one PostgreSQL database.
It carries wake-ups and ephemeral facts only; losing it loses no data.
"""

from pydantic import Field

from homeserver_config.values import Secret, Section


class RedisSettings(Section):
    """Redis carries wake-ups, typing and shared rate limits between processes. One process needs none."""

    url: Secret | None = Field(default=None, description="redis://[:password@]host:port/number, rediss:// with TLS.")
    prefix: str = Field(
        default="starling", description="The prefix of every key and channel, for a Redis shared with others."
    )
