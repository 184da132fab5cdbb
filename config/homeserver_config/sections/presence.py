"""The section `presence`: who is online."""

from pydantic import Field

from homeserver_config.values import Duration, Section


class PresenceSettings(Section):
    """Who is online. Costs much in big rooms."""

    enabled: bool = Field(default=True, description="Whether presence is kept and told to others.")
    federated: bool = Field(default=True, description="Whether presence is exchanged with other servers.")
    idle_after: Duration = Field(
        default=Duration.parse("5m"), description="Inactive for so long counts as unavailable."
    )
    offline_after: Duration = Field(
        default=Duration.parse("30s"), description="Without a sync for so long counts as offline."
    )
