"""The section `search`: finding messages by their words."""

from pydantic import Field

from homeserver_config.values import Section


class SearchSettings(Section):
    """Finding messages, room names and topics by their words. Encrypted messages are never indexed."""

    enabled: bool = Field(default=True, description="Whether messages are indexed and can be searched.")
