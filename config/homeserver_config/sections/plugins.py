"""The list `plugins`: which plugins run, in which order, each with its own settings.
The settings stay raw until the plugin's own model is known.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from homeserver_config.values import Duration, Section


class RawSettings:
    """A plugin's settings as written, with the place they stand at; `plugin_settings` makes a model of them."""

    __slots__ = ("origin", "path", "values")

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = dict(values or {})
        self.path: tuple[str | int, ...] = ("settings",)
        self.origin: object = None

    def attach(self, path: tuple[str | int, ...], origin: object) -> None:
        """Remember where in which file these settings stand."""
        self.path = path
        self.origin = origin

    def __repr__(self) -> str:
        return f"RawSettings({', '.join(self.values)})"  # the values may hold secrets

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawSettings) and other.values == self.values

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def parse(cls, value: object) -> "RawSettings":
        if isinstance(value, RawSettings):
            return value
        if value is None or isinstance(value, Mapping):
            return cls(value)
        raise ValueError("must be a mapping")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


class PluginEntry(Section):
    """One plugin that runs. A plain name is short for `{name: ...}`."""

    name: str = Field(
        min_length=1, description="The plugin's name (an entry point of `homeserver.plugins`) or a dotted path to it."
    )
    settings: RawSettings = Field(default_factory=RawSettings, description="The plugin's own settings.")
    timeout: Duration = Field(
        default=Duration.parse("10s"),
        description="How long one call of the plugin may take before it counts as failed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data
