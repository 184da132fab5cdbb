"""The list `plugins:` in the YAML: names, settings, mistakes with their lines, and the plugins' lives in order."""

import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_kit import server_with

from homeserver.plugin_api import PluginContext, PluginError, Section, hookimpl
from homeserver.plugin_api.loader import find_plugins, known_names
from homeserver_config import ConfigError, read_settings

WITHOUT_ISSUER = "an issuer is needed, or all three of authorization, token and userinfo endpoint"
LIVES: list[str] = []


class FirstPlugin:
    def __init__(self, context: PluginContext) -> None:
        self.context = context

    @hookimpl
    async def on_start(self) -> None:
        LIVES.append(f"start {self.context.plugin}")

    @hookimpl
    async def on_stop(self) -> None:
        LIVES.append(f"stop {self.context.plugin}")
        raise KeyError("the others are stopped all the same")


class SecondPlugin(FirstPlugin):
    class Settings(Section):
        size: int = 1

    def __init__(self, context: PluginContext, settings: Any) -> None:
        super().__init__(context)
        self.settings = settings


class CannotStart(FirstPlugin):
    @hookimpl
    async def on_start(self) -> None:
        raise KeyError("no database")


class CannotBeMade:
    def __init__(self, context: PluginContext) -> None:
        raise KeyError("no constructor")


@pytest.fixture(autouse=True)
def module_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module under a name of its own, as a dotted path finds it."""
    monkeypatch.setitem(sys.modules, "plugins_of_test_loader", sys.modules[__name__])
    LIVES.clear()


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        find_plugins(read_settings(text).plugins)
    return [str(mistake) for mistake in error.value.mistakes]


def test_bundled_plugins_are_known_without_an_installed_distribution() -> None:
    bundled = {"oauth_login", "password_login", "push_gateway", "registration_tokens", "turn_credentials"}
    assert bundled <= set(known_names())
    found = find_plugins(read_settings("plugins: [push_gateway, password_login]").plugins)
    assert [plugin.name for plugin in found] == ["push_gateway", "password_login"]
    assert [plugin.plugin_class.__module__ for plugin in found] == [
        "homeserver_plugins.push_gateway",
        "homeserver_plugins.password_login",
    ]


def test_settings_are_typed_and_come_with_their_defaults() -> None:
    text = "plugins:\n  - name: turn_credentials\n    timeout: 2s\n    settings: {uris: ['turn:a'], shared_secret: s}\n"
    (found,) = find_plugins(read_settings(text).plugins)
    assert found.timeout_s == 2.0
    assert found.settings is not None
    assert found.settings.model_dump()["lifetime"] == 86_400_000


def test_every_mistake_of_every_plugin_is_reported_with_line_and_key() -> None:
    text = """\
plugins:
  - push_gatway
  - name: turn_credentials
    settings:
      uris: [http://example.org]
      lifetme: 1d
  - name: password_login
    settings: {colour: red}
  - name: os.path:join
  - no.such.module
  - name: oauth_login
    settings:
      providers:
        - id: a
          client_id: b
        - id: google
          preset: google
"""
    assert mistakes_of(text) == [
        "homeserver.yaml:2: plugins[0].name: there is no plugin of this name; did you mean `push_gateway`?",
        "homeserver.yaml:5: plugins[1].settings.uris: 'http://example.org' must begin with turn: or turns:",
        "homeserver.yaml:6: plugins[1].settings.lifetme: is not a known key; did you mean `lifetime`?",
        "homeserver.yaml:8: plugins[2].settings: has no settings",
        "homeserver.yaml:9: plugins[3].name: is no plugin: a class, or a module with a class `Plugin`, is needed",
        "homeserver.yaml:10: plugins[4].name: there is no plugin of this name; known are " + ", ".join(known_names()),
        "homeserver.yaml:14: plugins[5].settings.providers[0]: " + WITHOUT_ISSUER,
        "homeserver.yaml:16: plugins[5].settings.providers[1].client_id: is missing",
    ]


def test_a_module_that_breaks_is_a_mistake_on_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "breaks_when_imported.py").write_text("raise OSError('no library')")
    monkeypatch.syspath_prepend(tmp_path)
    assert mistakes_of("plugins:\n  - breaks_when_imported:Plugin") == [
        "homeserver.yaml:2: plugins[0].name: cannot be loaded: OSError: no library"
    ]


async def test_plugins_start_in_the_order_of_the_list_and_stop_in_reverse(tmp_path: Path) -> None:
    first, second = "plugins_of_test_loader:FirstPlugin", "plugins_of_test_loader:SecondPlugin"
    async with server_with(tmp_path, {"name": second, "settings": {"size": 3}}, first) as server:
        assert server.homeserver.plugins.plugins.instances[second].settings.size == 3
        assert [f"start {second}", f"start {first}"] == LIVES
        LIVES.clear()
    assert [f"stop {first}", f"stop {second}"] == LIVES


async def test_a_plugin_that_cannot_start_stops_the_server_and_the_plugins_before_it(tmp_path: Path) -> None:
    first, broken = "plugins_of_test_loader:FirstPlugin", "plugins_of_test_loader.CannotStart"
    with pytest.raises(PluginError, match="CannotStart could not start: KeyError: 'no database'"):
        async with server_with(tmp_path, first, broken):
            pass
    assert [f"start {first}", f"stop {first}"] == LIVES


async def test_constructors_may_not_use_the_server(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="cannot be made: KeyError: 'no constructor'"):
        async with server_with(tmp_path, "plugins_of_test_loader:CannotBeMade"):
            pass


def test_a_context_says_when_it_is_too_early() -> None:
    from homeserver.app.plugin_context import PluginContexts

    contexts = PluginContexts(read_settings(""), None, None, None, None, None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="use on_start"):
        _ = contexts.parts
