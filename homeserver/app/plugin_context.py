"""The server as plugins see it: adapters from `PluginContext`'s protocols to the services.

Plugins are made before the services whose gates they stand at, so the services are handed in afterwards, by `attach`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from homeserver.plugin_api.accounts import Account, RegistrationAttempt
from homeserver.plugin_api.context import PluginContext
from homeserver.plugin_api.mail import MailPart
from homeserver.protocol.errors import MatrixError, bad_json, missing_param, unknown
from homeserver.services.accounts.user_ids import find_user_ids, user_id_of
from homeserver.services.plugin_events import follower_name
from homeserver.services.plugin_gates import LiveRoomView
from homeserver.services.rooms.create_room import NewRoom
from homeserver.storage import plugin_data, registration_tokens

if TYPE_CHECKING:
    from homeserver.app.accounts import AccountParts
    from homeserver.app.email import EmailParts
    from homeserver.app.rooms import RoomParts
    from homeserver.plugin_api.hooks import Hooks
    from homeserver.plugin_api.rooms import RoomRequest, RoomView
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.http_client import HttpClient
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.password_check import PasswordCheck
    from homeserver.services.followers import Followers
    from homeserver.services.mail.outbox import Outbox
    from homeserver.services.openid import OpenIdUsers
    from homeserver.services.plugin_events import PluginEvents
    from homeserver.services.profiles import Profiles
    from homeserver.services.push.pushers import Pushers
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.storage.accounts import User
    from homeserver.storage.database import Database
    from homeserver_config.settings import Settings


@dataclass(frozen=True, slots=True)
class AttachedParts:
    """The services that plugins reach through their context."""

    hooks: Hooks
    rooms: RoomParts
    accounts: AccountParts
    password_check: PasswordCheck
    limits: RateLimits
    profiles: Profiles
    followers: Followers
    event_followers: Mapping[str, PluginEvents]
    email: EmailParts
    pushers: Pushers
    openid: OpenIdUsers


class PluginContexts:
    """Makes the context of each plugin."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        http: HttpClient,
        background: BackgroundTasks,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._http = http
        self._background = background
        self._parts: AttachedParts | None = None

    def attach(self, parts: AttachedParts) -> None:
        """The services are there: contexts work from now on."""
        self._parts = parts

    @property
    def parts(self) -> AttachedParts:
        if self._parts is None:
            raise RuntimeError("a plugin used its context before the server started; use on_start")
        return self._parts

    def make(self, plugin: str) -> PluginContext:
        """The context of the plugin of that name."""
        folder = self._settings.server.data_directory / "plugins" / plugin.replace(":", ".")
        return PluginContext(
            plugin=plugin,
            server_name=self._settings.server.server_name,
            public_baseurl=self._settings.public_baseurl,
            data_directory=folder,
            clock=self._clock,
            randomness=self._randomness,
            http=self._http,
            log=structlog.get_logger(f"plugin.{plugin}"),
            store=_Store(plugin, self._database, self._clock),
            rooms=_Rooms(self),
            accounts=_Accounts(self, plugin, self._settings.server.server_name, self._database, self._clock),
            event_log=_EventLog(self, plugin),
            jobs=_Jobs(plugin, self._background),
            mail=_Mail(self),
            pushers=_Pushers(self),
            openid=_OpenId(self),
        )


class _Store:
    """Implements `KeyValueStore`."""

    def __init__(self, plugin: str, database: Database, clock: Clock) -> None:
        self._plugin = plugin
        self._database = database
        self._clock = clock

    async def find(self, key: str) -> Any:
        return await self._database.read(plugin_data.find_value, self._plugin, key, self._clock.now_ms())

    async def load(self, prefix: str = "") -> dict[str, Any]:
        return await self._database.read(plugin_data.load_values, self._plugin, prefix, self._clock.now_ms())

    async def put(self, key: str, value: Any, *, expires_ms: int | None = None) -> None:
        await self._database.write(plugin_data.store_value, self._plugin, key, orjson.dumps(value), expires_ms)

    async def put_new(self, key: str, value: Any, *, expires_ms: int | None = None) -> bool:
        raw, now_ms = orjson.dumps(value), self._clock.now_ms()
        return await self._database.write(plugin_data.store_new_value, self._plugin, key, raw, expires_ms, now_ms)

    async def delete(self, key: str) -> None:
        await self._database.write(plugin_data.delete_value, self._plugin, key)


class _Rooms:
    """Implements `RoomAccess`."""

    def __init__(self, contexts: PluginContexts) -> None:
        self._contexts = contexts

    @property
    def _parts(self) -> RoomParts:
        return self._contexts.parts.rooms

    async def view(self, room_id: str) -> RoomView:
        return LiveRoomView(await self._parts.rooms.get(room_id), self._parts.events)

    async def joined_rooms(self, user_id: str) -> list[str]:
        return await self._parts.read.joined_rooms(user_id)

    async def find_alias(self, alias: str) -> str | None:
        try:
            return (await self._parts.directory.find(alias)).room_id
        except MatrixError as error:
            if error.status == 404:
                return None
            raise

    async def create(self, request: RoomRequest) -> str:
        wanted = NewRoom(
            version=request.version,
            preset=request.preset,
            public=request.public,
            name=request.name,
            topic=request.topic,
            alias_localpart=request.alias_localpart,
            invite=request.invite,
            is_direct=request.is_direct,
            creation_content=request.creation_content,
            initial_state=request.initial_state,
        )
        return await self._parts.create.create(request.creator, wanted)

    async def send(self, sender: str, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        return await self._parts.send.send_message(sender, room_id, event_type, dict(content), None)

    async def set_state(
        self, sender: str, room_id: str, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> str:
        return await self._parts.send.set_state(sender, room_id, event_type, state_key, dict(content))

    async def join(self, user_id: str, room_id: str) -> None:
        await self._parts.membership.join(user_id, room_id)

    async def leave(self, user_id: str, room_id: str, reason: str | None = None) -> None:
        await self._parts.membership.leave(user_id, room_id, reason)

    async def invite(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None:
        await self._parts.membership.invite(sender, room_id, user_id, reason)


class _Accounts:
    """Implements `AccountAccess`."""

    def __init__(
        self, contexts: PluginContexts, plugin: str, server_name: str, database: Database, clock: Clock
    ) -> None:
        self._contexts = contexts
        self._plugin = plugin
        self._server_name = server_name
        self._database = database
        self._clock = clock

    @property
    def _parts(self) -> AccountParts:
        return self._contexts.parts.accounts

    def user_id_of(self, localpart: str) -> str:
        return user_id_of(localpart, self._server_name)

    async def find(self, user_id: str) -> Account | None:
        user = await self._parts.accounts.find(user_id)
        return None if user is None else as_account(user)

    async def is_free(self, localpart: str) -> bool:
        try:
            await self._parts.registration.check_available(localpart)
        except MatrixError:
            return False
        return True

    async def create(self, localpart: str, *, displayname: str | None = None, password: str | None = None) -> Account:
        await self._parts.registration.check_available(localpart)
        attempt = RegistrationAttempt(self.user_id_of(localpart.lower()), self._plugin)
        await self._contexts.parts.hooks.check_registration(attempt)
        user = await self._parts.accounts.create(localpart, password=password, displayname=displayname)
        return as_account(user)

    async def check_password(self, login: Mapping[str, Any], address: str) -> Account:
        password = login.get("password")
        if password is None:
            raise missing_param("`password` is missing.")
        if not isinstance(password, str):
            raise bad_json("`password` must be a string.")
        user_ids = await find_user_ids(login, self._server_name, self._contexts.parts.email.addresses)
        self._contexts.parts.limits.take("login_account", user_ids[-1])
        return as_account(await self._contexts.parts.password_check.check(user_ids, password, address))

    async def has_password(self, user_id: str) -> bool:
        user = await self._parts.accounts.find(user_id)
        return user is not None and user.password_hash is not None

    async def create_login_token(self, user_id: str) -> str:
        return await self._parts.login_tokens.issue(user_id)

    async def deactivate(self, user_id: str, *, erase: bool = False) -> None:
        await self._parts.accounts.deactivate(user_id, erase=erase)

    async def find_profile(self, user_id: str) -> dict[str, Any]:
        return await self._contexts.parts.profiles.fetch(user_id)

    async def set_profile_field(self, user_id: str, key: str, value: Any) -> None:
        await self._contexts.parts.profiles.set_field(user_id, key, {key: value})

    async def addresses(self, user_id: str, medium: str) -> list[str]:
        found = await self._contexts.parts.email.addresses.of_user(user_id)
        return [one.address for one in found if one.medium == medium]

    async def add_registration_token(self, token: str, uses_allowed: int | None, expires_ms: int | None) -> None:
        now_ms = self._clock.now_ms()
        if not await self._database.write(registration_tokens.create_token, token, uses_allowed, expires_ms, now_ms):
            await self._database.write(registration_tokens.change_token, token, uses_allowed, expires_ms)


class _EventLog:
    """Implements `EventLog`."""

    def __init__(self, contexts: PluginContexts, plugin: str) -> None:
        self._contexts = contexts
        self._plugin = plugin

    async def position(self) -> int:
        return await self._contexts.parts.followers.load_position_of(follower_name(self._plugin))

    async def rewind(self, position: int) -> None:
        parts = self._contexts.parts
        if self._plugin in parts.event_followers:
            parts.event_followers[self._plugin].forget()
        await parts.followers.rewind(follower_name(self._plugin), position)


class _Jobs:
    """Implements `Jobs`."""

    def __init__(self, plugin: str, background: BackgroundTasks) -> None:
        self._plugin = plugin
        self._background = background

    def run_every(self, name: str, seconds: float, function: Callable[[], Awaitable[object]]) -> None:
        self._background.run_every(f"plugin {self._plugin}: {name}", seconds, function)

    def start(self, name: str, coroutine: Coroutine[Any, Any, object]) -> None:
        self._background.start(f"plugin {self._plugin}: {name}", coroutine)


class _Pushers:
    """Implements `PusherAccess`."""

    def __init__(self, contexts: PluginContexts) -> None:
        self._contexts = contexts

    async def delete(self, user_id: str, app_id: str, pushkey: str) -> None:
        body = {"app_id": app_id, "pushkey": pushkey, "kind": None}
        await self._contexts.parts.pushers.set(user_id, None, body)


class _OpenId:
    """Implements `OpenIdAccess`."""

    def __init__(self, contexts: PluginContexts) -> None:
        self._contexts = contexts

    async def user_of(self, server_name: str, token: str) -> str:
        return await self._contexts.parts.openid.user_of(server_name, token)


class _Mail:
    """Implements `MailAccess`."""

    def __init__(self, contexts: PluginContexts) -> None:
        self._contexts = contexts

    @property
    def enabled(self) -> bool:
        return self._contexts.parts.email.outbox is not None

    @property
    def _outbox(self) -> Outbox:
        outbox = self._contexts.parts.email.outbox
        if outbox is None:
            raise unknown("This server sends no e-mail.", 503)
        return outbox

    def part(self, template: str, values: Mapping[str, str | Sequence[MailPart]]) -> MailPart:
        return self._outbox.templates.part(template, values)

    async def send(
        self,
        recipient: str,
        template: str,
        values: Mapping[str, str | Sequence[MailPart]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        await self._outbox.send(self._outbox.make(recipient, template, values, headers))


def as_account(user: User) -> Account:
    """An account as plugins see it."""
    return Account(user.user_id, user.kind, user.admin, user.deactivated, user.created_ms)
