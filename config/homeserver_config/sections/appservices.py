"""The section `appservices`: bridges and bots with users of their own."""

from pathlib import Path

from pydantic import Field

from homeserver_config.values import Section


class AppserviceSettings(Section):
    """Bridges and bots with users of their own."""

    registration_files: list[Path] = Field(
        default=[], description="The registration files (YAML) of application services."
    )
