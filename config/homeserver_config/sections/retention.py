"""The section `retention`: how long things are kept that nobody needs for ever."""

from pydantic import Field

from homeserver_config.values import Duration, Section


class RetentionSettings(Section):
    """How long things are kept that nobody needs for ever."""

    to_device: Duration = Field(
        default=Duration.parse("180d"), description="Undelivered messages to devices, e.g. of a phone in a drawer."
    )
    transaction_ids: Duration = Field(
        default=Duration.parse("1d"),
        description="How long sending again with the same transaction id gives the same event.",
    )
    redacted_content: Duration | None = Field(
        default=Duration.parse("7d"), description="The content of redacted events; null keeps it for ever."
    )
    device_list_changes: Duration = Field(
        default=Duration.parse("180d"), description="Which device lists changed when."
    )
