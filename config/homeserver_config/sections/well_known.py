"""The section `well_known`: what this server says at /.well-known/matrix."""

from typing import Any

from pydantic import Field

from homeserver_config.values import Section, ServerName


class WellKnownSettings(Section):
    """What this server says at /.well-known/matrix, if that path of the server name leads here."""

    enabled: bool = Field(default=True, description="Whether /.well-known/matrix is served.")
    delegate_to: ServerName | None = Field(
        default=None,
        description="Where other servers reach this one, e.g. matrix.example.org:443. Without it: the server name.",
    )
    client_extra: dict[str, Any] = Field(default={}, description="Further keys of /.well-known/matrix/client.")
