"""The section `application_services`: bridges and bots that this server sends events to and takes orders from."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from homeserver_config.values import Duration, ReadContext, Section


class ApplicationServiceSettings(Section):
    """Bridges and bots connected to this server. A plain list of files is short for `{registrations: [...]}`."""

    registrations: list[Path] = Field(
        default=[],
        description="Registration files, as bridges write them; relative paths start from the settings' folder.",
    )
    request_timeout: Duration = Field(
        default=Duration.parse("60s"), description="How long an application service may take for a transaction."
    )
    query_timeout: Duration = Field(
        default=Duration.parse("10s"),
        description="How long one may take to say whether a user, a room or a place of its network exists.",
    )
    retry_at_most: Duration = Field(
        default=Duration.parse("5m"), description="The longest pause between attempts to reach one that is down."
    )

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, data: Any) -> Any:
        return {"registrations": data} if isinstance(data, list) else data

    @field_validator("registrations")
    @classmethod
    def _from_the_settings_folder(cls, paths: list[Path], info: ValidationInfo) -> list[Path]:
        directory = info.context.directory if isinstance(info.context, ReadContext) else Path()
        return [directory / path for path in paths]
