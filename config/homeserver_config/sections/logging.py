"""The section `logging`: what is logged, and how.
Lines go to standard error; the supervisor of the process keeps them.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from homeserver_config.values import Section

Level = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]


class LoggingSettings(Section):
    """What is logged, and how. Lines go to standard error."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json for machines, console for people; auto is console on a terminal."
    )
    level: Level = Field(default="info", description="debug, info, warning, error or critical.")
    levels: dict[str, Level] = Field(default={}, description="Levels of single loggers, e.g. {homeserver.web: debug}.")
    requests: bool = Field(default=True, description="Whether every request answered is a line at level info.")
