"""Reads homeserver.yaml into `Settings`; all mistakes are reported at once, each with its line and key path.
Plugins' settings go through the same reader, so that a plugin's mistakes look like ours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from homeserver_config.sections.plugins import RawSettings
from homeserver_config.settings import Settings
from homeserver_config.values import ReadContext
from homeserver_config.yaml_document import KeyPath, Mistake, YamlDocument, key_text

Model = TypeVar("Model", bound=BaseModel)

ENV_PREFIX = "HOMESERVER__"


class ConfigError(Exception):
    """The settings hold mistakes; its text has one line for each."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the raw values came from, carried by plugins' settings until the plugin's model is known."""

    document: YamlDocument
    context: ReadContext
    env_names: Mapping[KeyPath, str]


def read_settings(source: str | Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings from a file (a Path), from YAML text (a str), or without any (None): defaults for local use.

    A variable `HOMESERVER__SECTION__KEY` in `env` replaces that key; its value is YAML. Relative paths inside secrets
    start from the file's folder. Raises ConfigError with every mistake.
    """
    environment = env or {}
    text, file_name, directory = _load(source)
    document = YamlDocument(text, file_name)
    if document.mistakes and document.value is None:
        raise ConfigError(document.mistakes)
    value: Any = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise ConfigError([document.mistake((), "must be a mapping of sections")])
    env_names = _override(value, environment)
    origin = _Origin(document, ReadContext(environment, directory), env_names)
    settings, mistakes = _validate(Settings, value, (), origin)
    mistakes = [*document.mistakes, *mistakes]
    if mistakes or settings is None:
        raise ConfigError(sorted(mistakes, key=lambda mistake: mistake.line))
    for index, plugin in enumerate(settings.plugins):
        plugin.settings.attach(("plugins", index, "settings"), origin)
    return settings


def read_model(model: type[Model], text: str, name: str) -> Model:
    """A YAML text of its own, such as a registration file, as a model. Raises ConfigError with every mistake."""
    document = YamlDocument(text, name)
    if document.mistakes:
        raise ConfigError(document.mistakes)
    if not isinstance(document.value, dict):
        raise ConfigError([document.mistake((), "must be a mapping")])
    found, mistakes = _validate(model, document.value, (), _Origin(document, ReadContext(), {}))
    if mistakes or found is None:
        raise ConfigError(sorted(mistakes, key=lambda mistake: mistake.line))
    return found


def plugin_settings(model: type[Model], raw: RawSettings) -> Model:
    """A plugin's settings as its own model. Raises ConfigError with every mistake, at its line of the file."""
    origin = raw.origin
    if not isinstance(origin, _Origin):
        origin = _Origin(YamlDocument("", "settings"), ReadContext(), {})
    settings, mistakes = _validate(model, raw.values, raw.path, origin)
    if mistakes or settings is None:
        raise ConfigError(mistakes)
    return settings


def plugin_mistake(raw: RawSettings, key: str, sentence: str) -> Mistake:
    """A mistake in a plugin's entry of the list `plugins`, at its key `name` or `settings`."""
    origin = raw.origin
    place = (*raw.path[:-1], key)
    return origin.document.mistake(place, sentence) if isinstance(origin, _Origin) else Mistake("", 0, key, sentence)


def _load(source: str | Path | None) -> tuple[str, str, Path]:
    if source is None:
        return "", "homeserver.yaml", Path()
    if isinstance(source, str):
        return source, "homeserver.yaml", Path()
    try:
        return source.read_text(encoding="utf-8"), source.name, source.parent
    except OSError as error:
        raise ConfigError([Mistake(str(source), 0, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Mistake(str(source), 0, "", "is not UTF-8 text")]) from None


def _override(value: dict[str, Any], env: Mapping[str, str]) -> dict[KeyPath, str]:
    """Put the environment's keys into `value`; which variable stands behind which key path."""
    names: dict[KeyPath, str] = {}
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX):
            continue
        *sections, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        target = value
        for section in sections:
            below = target.get(section)
            if not isinstance(below, dict):
                below = target[section] = {}
            target = below
        try:
            target[key] = yaml.safe_load(env[name])
        except yaml.YAMLError:
            target[key] = env[name]
        names[(*sections, key)] = name
    return names


def _validate(model: type[Model], value: Any, path: KeyPath, origin: _Origin) -> tuple[Model | None, list[Mistake]]:
    try:
        return model.model_validate(value, context=origin.context), []
    except ValidationError as error:
        return None, list(_mistakes(model, error.errors(include_url=False), path, origin))


def _mistakes(model: type[BaseModel], details: list[ErrorDetails], path: KeyPath, origin: _Origin) -> Iterator[Mistake]:
    for detail in details:
        place: KeyPath = (*path, *detail["loc"])
        sentence = _sentence(model, detail)
        variable = origin.env_names.get(place)
        if variable is None:
            yield origin.document.mistake(place, sentence)
        else:
            yield Mistake(variable, 0, key_text(place), sentence)


def _sentence(model: type[BaseModel], detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        *parents, name = detail["loc"]
        known = _known_keys(model, parents)
        near = get_close_matches(str(name), known, n=1)
        return f"is not a known key; did you mean `{near[0]}`?" if near else "is not a known key"
    if detail["type"] == "missing":
        return "is missing"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should be", "must be").replace("valid dictionary or instance of", "mapping for")


def _known_keys(model: type[BaseModel], parents: list[int | str]) -> list[str]:
    kind: Any = model
    for parent in parents:
        below = _models_in(kind)
        fields = next((found.model_fields for found in below if str(parent) in found.model_fields), None)
        if fields is not None:
            kind = fields[str(parent)].annotation
    return [name for found in _models_in(kind) for name in found.model_fields]


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if get_origin(kind) in (Union, UnionType, list, tuple, dict):
        return [model for argument in get_args(kind) for model in _models_in(argument)]
    return []
