"""The section `user_directory`: whom people find when they search for others."""

from typing import Literal

from pydantic import Field

from homeserver_config.values import Section


class UserDirectorySettings(Section):
    """Whom people find when they search for others."""

    enabled: bool = Field(default=True, description="Whether people can be searched.")
    scope: Literal["shared_rooms", "everyone"] = Field(
        default="shared_rooms",
        description="shared_rooms: people in common or public rooms; everyone: all accounts of this server.",
    )
