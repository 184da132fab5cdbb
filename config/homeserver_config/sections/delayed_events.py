"""The section `delayed_events`: events that clients schedule and the server sends later (MSC4140)."""

from pydantic import Field

from homeserver_config.values import Duration, Section


class DelayedEventSettings(Section):
    """Events that clients schedule and the server sends later: call hang-ups, scheduled messages."""

    max_delay: Duration = Field(default=Duration.parse("30d"), description="The longest delay; 0 turns them off.")
    max_scheduled: int = Field(default=100, ge=0, description="Events that one account may have scheduled at once.")
    keep_finalised: Duration = Field(
        default=Duration.parse("7d"), description="How long senders can see what became of their delayed events."
    )

    @property
    def enabled(self) -> bool:
        return self.max_delay > 0 and self.max_scheduled > 0
