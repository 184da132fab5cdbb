"""Which plugin implements which hook, in which order: registered and validated by pluggy, read out once.
pluggy's own call loop is not used: it would take the first coroutine for an answer and never ask the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pluggy

from homeserver.plugin_api.hookspecs import ALL_HOOKS
from homeserver.plugin_api.markers import PROJECT

KINDS = ("check", "provide", "register", "transform", "on")


class PluginError(Exception):
    """A plugin cannot run as it is: a hook that does not exist, a wrong signature, a clash. It stops the start."""


@dataclass(frozen=True, slots=True)
class RunningPlugin:
    """A plugin's object, under the name the settings give it. `timeout_s` bounds each call of it."""

    name: str
    instance: object
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Implementation:
    """One plugin's implementation of one hook. It takes as many of the hook's arguments as it names."""

    plugin: str
    function: Callable[..., Any]
    argument_names: tuple[str, ...]
    timeout_s: float

    def call(self, arguments: Mapping[str, Any]) -> Any:
        return self.function(*[arguments[name] for name in self.argument_names])


def hook_specifications() -> Iterator[tuple[type, str, Callable[..., Any]]]:
    """Every hook: the class that specifies it, its name, and the function with signature and docstring."""
    for concern in ALL_HOOKS:
        for name, function in vars(concern).items():
            if hasattr(function, f"{PROJECT}_spec"):
                yield concern, name, function


def implementations_of(plugins: Sequence[RunningPlugin]) -> dict[str, tuple[Implementation, ...]]:
    """Every hook's implementations, in the order of `plugins`. Raises PluginError with a sentence for the operator."""
    manager = pluggy.PluginManager(PROJECT)
    for concern in ALL_HOOKS:
        manager.add_hookspecs(concern)
    specifications = {name: function for _, name, function in hook_specifications()}
    for plugin in plugins:
        _check_marks(plugin, specifications)
    try:
        # pluggy asks the last registered first.
        for plugin in reversed(plugins):
            manager.register(plugin.instance, plugin.name)
        manager.check_pending()
    except pluggy.PluginValidationError as mistake:
        raise PluginError(str(mistake)) from None
    timeouts = {plugin.name: plugin.timeout_s for plugin in plugins}
    return {
        name: tuple(_read_out(name, specification, getattr(manager.hook, name), timeouts))
        for name, specification in specifications.items()
    }


def _read_out(
    name: str, specification: Callable[..., Any], caller: pluggy.HookCaller, timeouts: Mapping[str, float]
) -> Iterator[Implementation]:
    for found in reversed(caller.get_hookimpls()):
        if found.wrapper or found.hookwrapper:
            raise PluginError(f"{found.plugin_name}: {name} is a wrapper; wrappers are not supported.")
        if inspect.iscoroutinefunction(found.function) != inspect.iscoroutinefunction(specification):
            wanted = "an async" if inspect.iscoroutinefunction(specification) else "a plain, not an async"
            raise PluginError(f"{found.plugin_name}: {name} must be {wanted} method.")
        names = (*found.argnames, *found.kwargnames)
        yield Implementation(found.plugin_name, found.function, names, timeouts[found.plugin_name])


def _check_marks(plugin: RunningPlugin, specifications: Mapping[str, object]) -> None:
    """A hook that is misspelt, or not marked, would never be called, and nobody would notice: refuse both."""
    for name, function in _public_functions(plugin.instance):
        marked = hasattr(function, f"{PROJECT}_impl")
        if marked and name not in specifications:
            near = get_close_matches(name, specifications, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PluginError(f"{plugin.name}: there is no hook {name}{hint}")
        if name in specifications and not marked:
            raise PluginError(f"{plugin.name}: {name} is the name of a hook; mark it with @hookimpl.")


def _public_functions(instance: object) -> Iterable[tuple[str, object]]:
    for owner in type(instance).__mro__:
        for name, value in vars(owner).items():
            if not name.startswith("_") and inspect.isfunction(value):
                yield name, value
