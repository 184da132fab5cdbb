"""The section `caches`: how much memory the caches may take.
Every cache is bounded by bytes; the total is shared out among them.
"""

from pydantic import Field

from homeserver_config.values import ByteSize, Section


class CacheSettings(Section):
    """How much memory the caches may take."""

    total: ByteSize = Field(
        default=ByteSize.parse("192M"), description="All caches together; each gets its share of it."
    )
