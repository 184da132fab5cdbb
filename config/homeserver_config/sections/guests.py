"""The section `guests`: accounts without a password that may look around."""

from pydantic import Field

from homeserver_config.values import Section


class GuestSettings(Section):
    """Accounts without a password that may look around in rooms that let them."""

    enabled: bool = Field(default=False, description="Whether guest accounts can be made.")
