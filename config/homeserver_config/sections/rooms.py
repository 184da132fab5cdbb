"""The section `rooms`: what people may do with rooms, and how new rooms start."""

from typing import Literal

from pydantic import Field

from homeserver_config.values import Section, Text

Preset = Literal["private_chat", "trusted_private_chat", "public_chat"]
Who = Literal["everyone", "admins", "nobody"]


class RoomSettings(Section):
    """What people may do with rooms, and how new rooms start."""

    default_room_version: Text = Field(default="12", description="The room version of new rooms.")
    create: Who = Field(default="everyone", description="Who may create rooms.")
    create_alias: Who = Field(default="everyone", description="Who may give rooms an address on this server.")
    publish: Who = Field(default="everyone", description="Who may list rooms in this server's public directory.")
    public_directory_needs_login: bool = Field(
        default=False, description="Whether the public room directory is shown to logged-in people only."
    )
    public_directory_over_federation: bool = Field(
        default=False, description="Whether other servers may read the public room directory."
    )
    encrypt_presets: list[Preset] = Field(
        default=[],
        description="Presets whose new rooms are end-to-end encrypted even if the client does not ask for it.",
    )
    forget_on_leave: bool = Field(default=False, description="Whether a room is forgotten as soon as a user leaves it.")
