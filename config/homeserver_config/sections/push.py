"""The section `push`: notifications through push gateways."""

from pydantic import Field

from homeserver_config.values import Duration, Glob, Section


class PushSettings(Section):
    """Notifications to phones and browsers, through push gateways."""

    enabled: bool = Field(default=True, description="Whether notifications are sent.")
    include_content: bool = Field(
        default=True,
        description="Whether notifications carry the message; otherwise only ids, and the phone asks for the rest.",
    )
    allowed_gateways: list[Glob] = Field(
        default=[],
        description="Hosts of push gateways that may be used; empty means all that outgoing requests may reach.",
    )
    timeout: Duration = Field(default=Duration.parse("20s"), description="How long a push gateway may take to answer.")
    give_up_after: Duration = Field(
        default=Duration.parse("1d"),
        description="How long an unreachable push gateway is retried before news are dropped.",
    )
