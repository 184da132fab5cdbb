"""Builds the plugins, and what of the core stands behind their hooks: gates, logins, single sign-on, push, event feeds.

`PluginParts` is built before the services, because they ask it for gates and logins; `attach` closes the circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeserver.app.plugin_context import AttachedParts, PluginContexts, as_account
from homeserver.plugin_api.hooks import HookFigures
from homeserver.plugin_api.loader import Plugins, find_plugins
from homeserver.services.accounts.password_check import PasswordCheck
from homeserver.services.accounts.plugin_stages import PluginStage
from homeserver.services.plugin_events import PluginEvents
from homeserver.services.plugin_gates import GuardedLogin, PluginGates, PluginRegistrationGate
from homeserver.services.push.delivery import PushDelivery
from homeserver.services.push.notifications import IgnoredUsers, PushNotifications
from homeserver.services.push.payloads import NotificationPayloads
from homeserver.services.push.pushers import PusherRows, Pushers
from homeserver.services.sso import SingleSignOn
from homeserver.storage import plugin_data
from homeserver.web.endpoint import Route, routes_of

if TYPE_CHECKING:
    from homeserver.app.accounts import AccountParts
    from homeserver.app.email import EmailParts
    from homeserver.app.rooms import RoomParts
    from homeserver.plugin_api.hooks import Hooks
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.http_client import HttpClient
    from homeserver.runtime.metrics import Metrics
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.ports import AuthStage, LoginMethod
    from homeserver.services.cluster.leases import Leases
    from homeserver.services.followers import Followers
    from homeserver.services.openid import OpenIdUsers
    from homeserver.services.profiles import Profiles
    from homeserver.services.push_rules import PushRules
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.storage.accounts import User
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database
    from homeserver_config.settings import Settings

_SWEEP_EVERY_S = 3_600.0


class PluginParts:
    """The plugins of this server. Raises ConfigError for mistakes in their list, PluginError where they cannot run."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        http: HttpClient,
        metrics: Metrics,
        background: BackgroundTasks,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._background = background
        self._contexts = PluginContexts(settings, database, clock, randomness, http, background)
        self.plugins = Plugins(find_plugins(settings.plugins), self._contexts.make, HookFigures(metrics))
        self.hooks: Hooks = self.plugins.hooks
        self.gates = PluginGates(self.hooks)
        self.registration_gate = PluginRegistrationGate(self.hooks)
        self.sso = SingleSignOn(self.hooks.sso_providers(), own_pages=settings.oauth_provider.enabled)
        self.device_rows = PusherRows()
        self._transports = self.hooks.push_transports()
        self._stages = self.hooks.auth_stages()
        self.pushers = Pushers(settings.push, database, clock, self._transports)
        self.sms_sender = self.hooks.sms_sender()
        self.turn_credentials = self.hooks.turn_credentials()
        self._feeds = {observer.plugin: PluginEvents(observer) for observer in self.hooks.event_observers()}
        self._delivery: PushDelivery | None = None
        self._notifications: PushNotifications | None = None
        self._followers: Followers | None = None
        self._is_pushing = False

    # What accounts are built with

    def login_methods(self, own: Sequence[LoginMethod]) -> list[LoginMethod]:
        """The server's own ways to log in and the plugins', which take the place of one of the same type."""
        methods = {str(method.flow["type"]): method for method in own}
        if self.sso.is_offered:
            methods[str(self.sso.flow["type"])] = self.sso
        for method in self.hooks.login_methods():
            methods[str(method.flow["type"])] = method
        if not self.hooks.implements("check_login"):
            return list(methods.values())
        return [GuardedLogin(method, self.hooks) for method in methods.values()]

    def auth_stages(self, own: Sequence[AuthStage]) -> list[AuthStage]:
        """The server's own stages and the plugins', by the same rule."""
        stages = {stage.stage_type: stage for stage in own}
        for plugin, stage in self._stages:
            stages[stage.stage_type] = PluginStage(plugin, stage, self._clock)
        return list(stages.values())

    @property
    def registration_stages(self) -> list[str]:
        """Stages of plugins that everybody who registers has to complete."""
        return [stage.stage_type for _, stage in self._stages if stage.for_registration]

    @property
    def account_observers(self) -> list[_Observers | Pushers]:
        """Who hears of accounts coming and going."""
        return [self.pushers, _Observers(self.hooks)]

    # Once the services are there

    def attach(
        self,
        rooms: RoomParts,
        accounts: AccountParts,
        profiles: Profiles,
        push_rules: PushRules,
        ignored: IgnoredUsers,
        limits: RateLimits,
        followers: Followers,
        email: EmailParts,
        openid: OpenIdUsers,
    ) -> None:
        """Hand in the services: plugins' contexts work from here on, and push can be built."""
        self.gates.attach(rooms.events)
        self._followers = followers
        check = PasswordCheck(self._database, accounts.passwords, limits)
        self._contexts.attach(
            AttachedParts(
                self.hooks,
                rooms,
                accounts,
                check,
                limits,
                profiles,
                followers,
                self._feeds,
                email,
                self.pushers,
                openid,
            )
        )
        push = self._settings.push
        payloads = NotificationPayloads(
            self._database, rooms.rooms, rooms.events, rooms.unread, include_content=push.include_content
        )
        self._delivery = PushDelivery(
            push,
            self._database,
            rooms.events,
            self.pushers,
            payloads,
            self._transports,
            self.hooks,
            self._clock,
            self._randomness,
            self._background,
        )
        self._notifications = PushNotifications(
            self._database,
            rooms.rooms,
            rooms.events,
            push_rules,
            ignored,
            self.pushers,
            self._delivery,
            self._clock,
        )

    @property
    def routes(self) -> list[Route]:
        """The endpoints plugins add."""
        return [route for instance in self.hooks.routes() for route in routes_of(instance)]

    async def start(self, leases: Leases) -> None:
        """Start the plugins, then push and the event feeds. The database is open and the services run."""
        if self._followers is None or self._delivery is None or self._notifications is None:
            raise RuntimeError("plugins were started before they were attached")
        await self.plugins.start()
        followers, delivery, notifications = self._followers, self._delivery, self._notifications
        feeds = list(self._feeds.values())
        await leases.begin("plugins", lambda: followers.start(feeds))
        if self._settings.push.enabled and self._transports:
            await self.pushers.start(self._background)
            await leases.begin("push", lambda: self._begin_pushing(followers, delivery, notifications))
        self._background.run_every("plugin-data", _SWEEP_EVERY_S, self._sweep)

    async def _begin_pushing(
        self, followers: Followers, delivery: PushDelivery, notifications: PushNotifications
    ) -> None:
        self._is_pushing = True
        await delivery.start()
        await followers.start([notifications])

    def follow(self, changes: Sequence[Change], position: int | None) -> None:
        """The log has moved: wake the followers, and tell other devices of what was read."""
        if self._followers is not None:
            self._followers.follow(changes, position)
        if self._delivery is not None and self._is_pushing and self.pushers.by_user:
            self._delivery.follow(changes)

    async def stop(self) -> None:
        """Stop the plugins. Call it before background work ends, which their last deeds may need."""
        await self.plugins.stop()

    async def _sweep(self) -> None:
        await self._database.write(plugin_data.delete_expired, self._clock.now_ms())


class _Observers:
    """Tells plugins of accounts. Implements `AccountObserver`."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def account_created(self, user: User) -> None:
        await self._hooks.on_account_created(as_account(user))

    async def account_deactivated(self, user_id: str, erase: bool) -> None:
        await self._hooks.on_account_deactivated(user_id, erase)
