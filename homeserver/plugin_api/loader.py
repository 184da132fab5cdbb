"""From the list `plugins:` of the YAML to running plugins: found by name, configured, started and stopped in order.
Every mistake in the list is reported at once, with its line and key path, like all mistakes in the settings.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

import structlog

from homeserver.plugin_api.context import ContextMaker
from homeserver.plugin_api.hooks import HookFigures, Hooks
from homeserver.plugin_api.implementations import PluginError, RunningPlugin
from homeserver.plugin_api.markers import ENTRY_POINTS
from homeserver_config import ConfigError, Mistake, plugin_settings
from homeserver_config.reader import plugin_mistake
from homeserver_config.sections.plugins import PluginEntry
from homeserver_config.values import Section

_BUNDLED = "homeserver_plugins"
_CLASS = "Plugin"
_log = structlog.get_logger("homeserver.plugins")


@dataclass(frozen=True, slots=True)
class FoundPlugin:
    """A plugin of the list: its class and its checked settings, not yet made."""

    name: str
    plugin_class: type
    settings: Section | None
    timeout_s: float

    def make(self, make_context: ContextMaker) -> RunningPlugin:
        """The plugin's object. PluginError if its constructor fails."""
        context = make_context(self.name)
        try:
            instance = (
                self.plugin_class(context) if self.settings is None else self.plugin_class(context, self.settings)
            )
        except Exception as error:
            raise PluginError(f"the plugin {self.name} cannot be made: {type(error).__name__}: {error}") from error
        return RunningPlugin(self.name, instance, self.timeout_s)


def find_plugins(entries: Sequence[PluginEntry]) -> list[FoundPlugin]:
    """The plugins the settings list, in order. Raises ConfigError with every mistake of all of them."""
    found: list[FoundPlugin] = []
    mistakes: list[Mistake] = []
    for entry in entries:
        try:
            found.append(_find(entry))
        except ConfigError as error:
            mistakes.extend(error.mistakes)
    if mistakes:
        raise ConfigError(sorted(mistakes, key=lambda mistake: mistake.line))
    return found


def known_names() -> list[str]:
    """The names that can be listed without a dot: entry points of installed packages, and what comes along."""
    bundled = (name for name in _bundled_names() if not name.startswith("_"))
    return sorted({*(point.name for point in entry_points(group=ENTRY_POINTS)), *bundled})


class Plugins:
    """The running plugins, and `hooks` to ask them. Raises PluginError for plugins that cannot run."""

    def __init__(
        self, found: Sequence[FoundPlugin], make_context: ContextMaker, figures: HookFigures | None = None
    ) -> None:
        self._running = [plugin.make(make_context) for plugin in found]
        self._started: list[str] = []
        self.hooks = Hooks(self._running, figures)

    @property
    def instances(self) -> dict[str, object]:
        """The plugins' objects by name."""
        return {plugin.name: plugin.instance for plugin in self._running}

    async def start(self) -> None:
        """Start every plugin, in order. If one cannot, those started are stopped and PluginError is raised."""
        for name in self.hooks.plugins:
            try:
                await self.hooks.on_start(name)
            except PluginError:
                await self.stop()
                raise
            self._started.append(name)
            _log.info("plugin started", plugin=name)

    async def stop(self) -> None:
        """Stop those that were started, last started first."""
        while self._started:
            await self.hooks.on_stop(self._started.pop())


def _find(entry: PluginEntry) -> FoundPlugin:
    plugin_class = _class_of(entry)
    model: Any = getattr(plugin_class, "Settings", None)
    settings: Section | None = None
    if model is not None:
        if not (inspect.isclass(model) and issubclass(model, Section)):
            raise _mistake(entry, "its `Settings` is not a Section")
        settings = plugin_settings(model, entry.settings)
    elif entry.settings.values:
        raise _mistake(entry, "has no settings", "settings")
    return FoundPlugin(entry.name, plugin_class, settings, entry.timeout.seconds)


def _class_of(entry: PluginEntry) -> type:
    try:
        target = _load(entry.name)
    except LookupError:
        near = get_close_matches(entry.name, known_names(), n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(known_names())}"
        raise _mistake(entry, f"there is no plugin of this name; {hint}") from None
    except Exception as error:
        raise _mistake(entry, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if inspect.ismodule(target):
        target = getattr(target, _CLASS, None)
    if not inspect.isclass(target):
        raise _mistake(entry, f"is no plugin: a class, or a module with a class `{_CLASS}`, is needed")
    return target


def _load(name: str) -> object:
    """What stands behind a name: an entry point, a bundled module, or a dotted path. LookupError if nothing does."""
    if "." in name or ":" in name:
        return _load_path(name)
    points = list(entry_points(group=ENTRY_POINTS, name=name))
    for point in points:
        loaded: object = point.load()
        return loaded
    if name in _bundled_names():
        return importlib.import_module(f"{_BUNDLED}.{name}")
    raise LookupError(name)


def _load_path(path: str) -> object:
    module_name, _, attribute = path.partition(":")
    if not attribute and _is_module(module_name):
        return importlib.import_module(module_name)
    if not attribute:
        module_name, _, attribute = path.rpartition(".")
    if not _is_module(module_name):
        raise LookupError(path)
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        raise LookupError(path)
    return getattr(module, attribute)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _bundled_names() -> Iterator[str]:
    """Names of the modules that come along: they need no installed distribution to be found."""
    specification = importlib.util.find_spec(_BUNDLED)
    places = specification.submodule_search_locations if specification is not None else None
    return (module.name for module in pkgutil.iter_modules(places or []))


def _mistake(entry: PluginEntry, sentence: str, key: str = "name") -> ConfigError:
    return ConfigError([plugin_mistake(entry.settings, key, sentence)])
