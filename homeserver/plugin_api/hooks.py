"""The only caller of plugins: one typed method for each hook.
Implementations are awaited in order, each with its name, a time-out and figures; what nobody implements is free.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter, Histogram

from homeserver.plugin_api.accounts import Account, AuthStage, LoginAttempt, LoginMethod, RegistrationAttempt
from homeserver.plugin_api.calls import TurnCredentialSource
from homeserver.plugin_api.implementations import Implementation, PluginError, RunningPlugin, implementations_of
from homeserver.plugin_api.media import MediaStore, Thumbnailer
from homeserver.plugin_api.push import Notification, Pusher, PushTransport
from homeserver.plugin_api.rooms import RoomRequest, RoomView
from homeserver.plugin_api.sso import SsoProvider
from homeserver.plugin_api.third_party_ids import SmsSender
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import Event
from homeserver.runtime.metrics import Family, Metrics

T = TypeVar("T")
_log = structlog.get_logger("homeserver.plugins")


class HookFigures:
    """How long plugins take and how often they fail, by plugin and hook. One for each `Metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        labels = ("plugin", "hook")
        self.seconds: Family[Histogram] = metrics.histograms("plugin_seconds", "How long plugins' hooks took", labels)
        self.failures: Family[Counter] = metrics.counters("plugin_failures", "How often plugins' hooks failed", labels)


@dataclass(frozen=True, slots=True)
class EventObserver:
    """One plugin that wants to hear of events. `tell` raises what the plugin raises."""

    plugin: str
    tell: Callable[[Event], Any]


class Hooks:
    """Asks the plugins. `plugins` in the order of the YAML; without any, nothing here costs anything.

    Raises PluginError for plugins that cannot run.
    """

    def __init__(self, plugins: Sequence[RunningPlugin] = (), figures: HookFigures | None = None) -> None:
        self._figures = figures
        self._of = implementations_of(plugins)
        self._plugins = tuple(plugin.name for plugin in plugins)

    @property
    def plugins(self) -> tuple[str, ...]:
        """The names of the running plugins, in order."""
        return self._plugins

    def implements(self, hook: str) -> bool:
        """Whether any plugin implements a hook."""
        return bool(self._of[hook])

    # Events and rooms

    async def check_event_allowed(self, draft: EventDraft, room: RoomView) -> EventDraft:
        """The draft as it is to be sent. Raises MatrixError of the first plugin that refuses."""
        for one in self._of["check_event_allowed"]:
            content = await self._ask(one, "check_event_allowed", {"draft": draft, "room": room}, dict)
            if content is not None:
                draft = replace(draft, content=content)
        return draft

    async def check_room_creation(self, request: RoomRequest) -> None:
        await self._check("check_room_creation", {"request": request})

    async def check_alias(self, user_id: str, alias: str, room_id: str) -> None:
        await self._check("check_alias", {"user_id": user_id, "alias": alias, "room_id": room_id})

    async def check_publishing(self, user_id: str, room_id: str) -> None:
        await self._check("check_publishing", {"user_id": user_id, "room_id": room_id})

    def event_observers(self) -> list[EventObserver]:
        """The plugins that implement `on_event`, each to be told from its own position in the log."""
        return [EventObserver(one.plugin, _Teller(self, one)) for one in self._of["on_event"]]

    # Accounts

    async def check_login(self, attempt: LoginAttempt) -> None:
        await self._check("check_login", {"attempt": attempt})

    async def check_registration(self, attempt: RegistrationAttempt) -> None:
        await self._check("check_registration", {"attempt": attempt})

    def login_methods(self) -> list[LoginMethod]:
        return self._collect("register_login_methods", lambda method: str(method.flow["type"]))

    def auth_stages(self) -> list[tuple[str, AuthStage]]:
        """Each stage with the name of its plugin."""
        return self._collect_named("register_auth_stages", lambda stage: str(stage.stage_type))

    def sso_providers(self) -> list[SsoProvider]:
        return self._collect("register_sso_providers", lambda provider: str(provider.provider_id))

    async def on_account_created(self, account: Account) -> None:
        await self._observe("on_account_created", {"account": account})

    async def on_account_deactivated(self, user_id: str, erase: bool) -> None:
        await self._observe("on_account_deactivated", {"user_id": user_id, "erase": erase})

    # Media, push, calls

    def media_store(self, plugin: str | None = None) -> MediaStore | None:
        """The media store of the plugin named, or of the only one; None when no plugin has one."""
        store: MediaStore | None = self._provided("provide_media_store", plugin)
        return store

    def thumbnailer(self, plugin: str | None = None) -> Thumbnailer | None:
        thumbnailer: Thumbnailer | None = self._provided("provide_thumbnailer", plugin)
        return thumbnailer

    def turn_credentials(self, plugin: str | None = None) -> TurnCredentialSource | None:
        source: TurnCredentialSource | None = self._provided("provide_turn_credentials", plugin)
        return source

    def rtc_transports(self) -> list[Mapping[str, Any]]:
        """Media servers for group calls."""
        return self._collect("register_rtc_transports", id)

    def sms_sender(self, plugin: str | None = None) -> SmsSender | None:
        sender: SmsSender | None = self._provided("provide_sms_sender", plugin)
        return sender

    def push_transports(self) -> dict[str, PushTransport]:
        """The transports by the kind of pusher they serve."""
        found: list[PushTransport] = self._collect("register_push_transports", lambda transport: str(transport.kind))
        return {transport.kind: transport for transport in found}

    async def transform_push_payload(self, pusher: Pusher, notification: Notification) -> Notification | None:
        """The notification to send, None for none. A plugin that fails changes nothing."""
        for one in self._of["transform_push_payload"]:
            arguments = {"pusher": pusher, "notification": notification}
            try:
                changed = await self._timed(one, "transform_push_payload", arguments)
            except Exception as error:  # noqa: BLE001 (this is the hooks façade)
                self._note_failure(one, "transform_push_payload", error)
                continue
            if changed is None:
                return None
            notification = changed
        return notification

    # HTTP

    def routes(self) -> list[object]:
        """Objects with `@endpoint` methods."""
        return self._collect("register_routes", id)

    def well_known(self) -> dict[str, Any]:
        return self._merge("register_well_known")

    def capabilities(self) -> dict[str, Mapping[str, Any]]:
        return self._merge("register_capabilities")

    def unstable_features(self) -> dict[str, bool]:
        return self._merge("register_unstable_features")

    # Life

    async def on_start(self, plugin: str) -> None:
        """Tell one plugin that the server starts; raises PluginError if it fails."""
        for one in self._of["on_start"]:
            if one.plugin == plugin:
                try:
                    await self._timed(one, "on_start", {})
                except Exception as error:
                    raise PluginError(f"the plugin {plugin} could not start: {_text_of(error)}") from error

    async def on_stop(self, plugin: str) -> None:
        """Tell one plugin that the server stops."""
        await self._observe("on_stop", {}, only=plugin)

    # How each kind is called

    async def _check(self, hook: str, arguments: Mapping[str, Any]) -> None:
        for one in self._of[hook]:
            await self._ask(one, hook, arguments, None)

    async def _ask(self, one: Implementation, hook: str, arguments: Mapping[str, Any], answer: type | None) -> Any:
        """One plugin's answer: None, or an `answer`. Whatever else happens is a refusal."""
        try:
            found = await self._timed(one, hook, arguments)
            if found is not None and (answer is None or not isinstance(found, answer)):
                raise TypeError(f"{hook} returned {found!r}; to refuse, raise MatrixError")
        except MatrixError:
            raise
        except Exception as error:
            self._note_failure(one, hook, error)
            sentence = "A part of this server that has to agree to this has failed. Try again later."
            raise MatrixError("M_UNKNOWN", sentence, 503) from error
        return found

    async def _observe(self, hook: str, arguments: Mapping[str, Any], only: str | None = None) -> None:
        for one in self._of[hook]:
            if only is not None and one.plugin != only:
                continue
            try:
                await self._timed(one, hook, arguments)
            except Exception as error:  # noqa: BLE001 (this is the hooks façade)
                self._note_failure(one, hook, error)

    async def tell(self, one: Implementation, event: Event) -> None:
        """Tell one plugin of an event; raises what it raises, so that it is told again."""
        try:
            await self._timed(one, "on_event", {"event": event})
        except Exception as error:
            self._note_failure(one, "on_event", error)
            raise

    async def _timed(self, one: Implementation, hook: str, arguments: Mapping[str, Any]) -> Any:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(one.timeout_s):
                return await one.call(arguments)
        finally:
            if self._figures is not None:
                self._figures.seconds.child(one.plugin, hook).observe(time.perf_counter() - started)

    def _note_failure(self, one: Implementation, hook: str, error: Exception) -> None:
        _log.error("plugin failed", plugin=one.plugin, hook=hook, exc_info=error)
        if self._figures is not None:
            self._figures.failures.child(one.plugin, hook).inc()

    def _call_once(self, one: Implementation, hook: str) -> Any:
        try:
            return one.call({})
        except Exception as error:
            raise PluginError(f"{one.plugin}: {hook} failed: {_text_of(error)}") from error

    def _collect(self, hook: str, key: Callable[[Any], object]) -> list[Any]:
        return [item for _, item in self._collect_named(hook, key)]

    def _collect_named(self, hook: str, key: Callable[[Any], object]) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        owners: dict[object, str] = {}
        for one in self._of[hook]:
            for item in self._call_once(one, hook):
                _claim(owners, key(item), one.plugin, hook)
                found.append((one.plugin, item))
        return found

    def _merge(self, hook: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        owners: dict[object, str] = {}
        for one in self._of[hook]:
            for key, value in self._call_once(one, hook).items():
                _claim(owners, key, one.plugin, hook)
                merged[key] = value
        return merged

    def _provided(self, hook: str, plugin: str | None) -> Any:
        able = [one for one in self._of[hook] if plugin is None or one.plugin == plugin]
        if plugin is not None and not able:
            raise PluginError(f"the plugin {plugin} does not run or has no {hook}")
        if len(able) > 1:
            raise PluginError(f"{_listed(one.plugin for one in able)} all have {hook}; only one of them can run")
        return self._call_once(able[0], hook) if able else None


class _Teller:
    """Tells one plugin of events."""

    def __init__(self, hooks: Hooks, implementation: Implementation) -> None:
        self._hooks = hooks
        self._implementation = implementation

    async def __call__(self, event: Event) -> None:
        await self._hooks.tell(self._implementation, event)


def _claim(owners: dict[object, str], key: object, plugin: str, hook: str) -> None:
    if key in owners:
        raise PluginError(f"{hook}: {owners[key]} and {plugin} both offer {key!r}")
    owners[key] = plugin


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
