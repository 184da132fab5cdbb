"""What a plugin gets of the server: `PluginContext`, a handful of small protocols and plain values.
In a plugin's constructor it may only be kept; from `on_start` on everything in it works.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from homeserver.plugin_api.accounts import Account
from homeserver.plugin_api.mail import MailAccess
from homeserver.plugin_api.rooms import RoomRequest, RoomView
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import HttpClient
from homeserver.runtime.randomness import Randomness


class KeyValueStore(Protocol):
    """The plugin's own rows in the server's database: texts to JSON values. No other plugin sees them."""

    async def find(self, key: str) -> Any:
        """The value, or None without one. An expired value is none."""

    async def load(self, prefix: str = "") -> dict[str, Any]:
        """All values whose keys begin with `prefix`."""

    async def put(self, key: str, value: Any, *, expires_ms: int | None = None) -> None:
        """Keep a value, until a time (milliseconds since 1970) if one is given."""

    async def put_new(self, key: str, value: Any, *, expires_ms: int | None = None) -> bool:
        """Keep a value unless there is one already; whether it was kept. Of several at once, one wins."""

    async def delete(self, key: str) -> None: ...


class RoomAccess(Protocol):
    """Rooms, and acting in them as one of this server's users. Raises MatrixError as the client API would."""

    async def view(self, room_id: str) -> RoomView:
        """M_NOT_FOUND for a room this server does not know."""

    async def joined_rooms(self, user_id: str) -> list[str]: ...

    async def find_alias(self, alias: str) -> str | None:
        """The room an alias points at."""

    async def create(self, request: RoomRequest) -> str:
        """Make a room as `request.creator`; its id."""

    async def send(self, sender: str, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        """Send a message event; its id."""

    async def set_state(
        self, sender: str, room_id: str, event_type: str, state_key: str, content: Mapping[str, Any]
    ) -> str:
        """Send a state event; its id."""

    async def join(self, user_id: str, room_id: str) -> None: ...

    async def leave(self, user_id: str, room_id: str, reason: str | None = None) -> None: ...

    async def invite(self, sender: str, room_id: str, user_id: str, reason: str | None = None) -> None: ...


class AccountAccess(Protocol):
    """The accounts of this server."""

    def user_id_of(self, localpart: str) -> str: ...

    async def find(self, user_id: str) -> Account | None: ...

    async def is_free(self, localpart: str) -> bool:
        """Whether a newcomer may have this name: well formed, not taken, not reserved."""

    async def create(self, localpart: str, *, displayname: str | None = None, password: str | None = None) -> Account:
        """Open an account. M_INVALID_USERNAME, M_USER_IN_USE, M_EXCLUSIVE, or what a plugin refuses with."""

    async def check_password(self, login: Mapping[str, Any], address: str) -> Account:
        """The account that a password login's body proves; M_FORBIDDEN, M_LIMIT_EXCEEDED, M_MISSING_PARAM."""

    async def has_password(self, user_id: str) -> bool: ...

    async def create_login_token(self, user_id: str) -> str:
        """A short-lived token that logs this user in once, with `m.login.token`."""

    async def deactivate(self, user_id: str, *, erase: bool = False) -> None: ...

    async def find_profile(self, user_id: str) -> dict[str, Any]:
        """Anybody's profile; M_NOT_FOUND."""

    async def set_profile_field(self, user_id: str, key: str, value: Any) -> None:
        """Set one field of a local user's profile."""

    async def addresses(self, user_id: str, medium: str) -> list[str]:
        """The confirmed addresses of a user, `medium` being `email` or `msisdn`."""

    async def add_registration_token(self, token: str, uses_allowed: int | None, expires_ms: int | None) -> None:
        """Make sure that this registration token exists, with these limits."""


class EventLog(Protocol):
    """How far this plugin has read the log, for plugins with `on_event`."""

    async def position(self) -> int:
        """The position up to which it has been told everything."""

    async def rewind(self, position: int) -> None:
        """Be told again of everything after `position`; 0 for the whole history."""


class PusherAccess(Protocol):
    """The pushers of this server's users."""

    async def delete(self, user_id: str, app_id: str, pushkey: str) -> None:
        """Take a pusher away; nothing happens if there is none."""


class OpenIdAccess(Protocol):
    """Who is behind the OpenID tokens that users of any server hand to services."""

    async def user_of(self, server_name: str, token: str) -> str:
        """The user whose token this is, as their own server says; MatrixError if it does not hold."""


class Jobs(Protocol):
    """Work beside the requests, supervised: failures are logged, and everything ends with the server."""

    def run_every(self, name: str, seconds: float, function: Callable[[], Awaitable[object]]) -> None:
        """Call an async function again and again, `seconds` after it last ended."""

    def start(self, name: str, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine once."""


@dataclass(frozen=True, slots=True)
class PluginContext:
    """The server, as far as one plugin is concerned. `public_baseurl` has no slash at the end.

    `data_directory` is where the plugin may keep files of its own; it makes the folder when it needs it.
    """

    plugin: str
    server_name: str
    public_baseurl: str
    data_directory: Path
    clock: Clock
    randomness: Randomness
    http: HttpClient
    log: FilteringBoundLogger
    store: KeyValueStore
    rooms: RoomAccess
    accounts: AccountAccess
    event_log: EventLog
    jobs: Jobs
    mail: MailAccess
    pushers: PusherAccess
    openid: OpenIdAccess


ContextMaker = Callable[[str], PluginContext]
"""Makes the context of the plugin of that name."""
