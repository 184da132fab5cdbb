"""Pushers: what clients set, who has any, and their end with the device or the account.

Spec: client-server-api #push-notifications
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from homeserver.plugin_api.push import Pusher, PushTransport
from homeserver.protocol.errors import MatrixError, bad_json, invalid_param, missing_param
from homeserver.storage import pushers as rows
from homeserver.storage.pushers import NewPusher, StoredPusher

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.storage.accounts import User
    from homeserver.storage.database import Database, Transaction
    from homeserver_config.sections.push import PushSettings

_LONGEST_PUSHKEY_BYTES = 512
_LONGEST_APP_ID = 64
_LONGEST_TEXT = 512
_LOAD_EVERY_S = 60.0
_NEEDED = ("app_display_name", "device_display_name", "lang", "data")


class Pushers:
    """The pushers of local users. `by_user` is kept in memory: most events concern nobody who has one.

    Other processes' changes are seen within a minute.
    """

    def __init__(
        self, settings: PushSettings, database: Database, clock: Clock, transports: Mapping[str, PushTransport]
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._transports = transports
        self.by_user: dict[str, list[int]] = {}
        self._listeners: list[Callable[[str], None]] = []

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Have `listener(user_id)` called when this process changes somebody's pushers."""
        self._listeners.append(listener)

    async def start(self, background: BackgroundTasks) -> None:
        """Find out who has pushers, and go on finding out."""
        await self.load()
        background.run_every("pushers", _LOAD_EVERY_S, self.load)

    async def load(self) -> None:
        """Read anew who has pushers."""
        self.by_user = await self._database.read(rows.load_pusher_nids)

    async def reload(self, user_id: str, *, told: bool = False) -> None:
        """Read anew which pushers one user has. Those of others that went with it are found out about at delivery.

        `told`: another process changed them.
        """
        if not told:
            for listener in self._listeners:
                listener(user_id)
        nids = [pusher.nid for pusher in await self._database.read(rows.load_pushers, user_id)]
        if nids:
            self.by_user[user_id] = nids
        else:
            self.by_user.pop(user_id, None)

    async def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """What `GET /pushers` lists."""
        return [_as_json(pusher) for pusher in await self._database.read(rows.load_pushers, user_id)]

    async def set(self, user_id: str, device_id: str | None, body: Mapping[str, Any]) -> None:
        """Create, change or (with `kind` null) delete a pusher. M_MISSING_PARAM, M_BAD_JSON, M_INVALID_PARAM."""
        app_id, pushkey = _text(body, "app_id"), _text(body, "pushkey")
        if "kind" not in body:
            raise missing_param("`kind` is missing.")
        if body["kind"] is None:
            await self._database.write(rows.delete_pusher, user_id, app_id, pushkey)
        else:
            append = body.get("append", False)
            if not isinstance(append, bool):
                raise bad_json("`append` must be true or false.")
            pusher = await self._checked(user_id, device_id, app_id, pushkey, body)
            await self._database.write(rows.store_pusher, pusher, append=append)
        await self.reload(user_id)

    async def account_created(self, user: User) -> None:
        """A new account has no pushers."""

    async def account_deactivated(self, user_id: str, erase: bool) -> None:
        """Those that belonged to no device go with the account."""
        await self._database.write(rows.delete_of_user, user_id)
        await self.reload(user_id)

    async def _checked(
        self, user_id: str, device_id: str | None, app_id: str, pushkey: str, body: Mapping[str, Any]
    ) -> NewPusher:
        if len(pushkey.encode("utf-8", "surrogatepass")) > _LONGEST_PUSHKEY_BYTES:
            raise invalid_param(f"`pushkey` may have at most {_LONGEST_PUSHKEY_BYTES} bytes.")
        if len(app_id) > _LONGEST_APP_ID:
            raise invalid_param(f"`app_id` may have at most {_LONGEST_APP_ID} characters.")
        missing = [name for name in _NEEDED if name not in body]
        if missing:
            raise missing_param(f"Missing parameters: {', '.join(missing)}")
        data, tag = body["data"], body.get("profile_tag")
        if not isinstance(data, dict):
            raise bad_json("`data` must be an object.")
        if tag is not None and not isinstance(tag, str):
            raise bad_json("`profile_tag` must be a string.")
        new = NewPusher(
            user_id,
            app_id,
            pushkey,
            _text(body, "kind"),
            _text(body, "app_display_name"),
            _text(body, "device_display_name"),
            _text(body, "lang"),
            data,
            self._clock.now_ms(),
            tag,
            device_id,
        )
        transport = self._transports.get(new.kind)
        if transport is None:
            raise invalid_param(f"This server has no pushers of the kind {new.kind!r}.")
        pending = transport.check(as_pusher(new))
        if pending is not None:
            await pending
        for place in ("url", "endpoint"):
            self._check_gateway(data.get(place))
        return new

    def _check_gateway(self, url: object) -> None:
        allowed = self._settings.allowed_gateways
        if not allowed or not isinstance(url, str):
            return
        host = urlsplit(url).hostname or ""
        if not any(pattern.matches(host) for pattern in allowed):
            raise invalid_param("This server does not use this push gateway.")


class PusherRows:
    """The pushers of a device go with it, in the same transaction. Implements `DeviceRows`."""

    def device_changed(self, tx: Transaction, user_id: str, device_id: str) -> None:
        """A device's name is no matter of its pushers."""

    def devices_deleted(self, tx: Transaction, user_id: str, device_ids: Sequence[str]) -> None:
        rows.delete_of_devices(tx, user_id, device_ids)


def as_pusher(pusher: StoredPusher | NewPusher) -> Pusher:
    """A pusher as plugins see it."""
    return Pusher(
        pusher.user_id,
        pusher.kind,
        pusher.app_id,
        pusher.pushkey,
        pusher.app_display_name,
        pusher.device_display_name,
        pusher.lang,
        pusher.data,
        pusher.set_ms,
        pusher.profile_tag,
        pusher.device_id,
    )


def _as_json(pusher: StoredPusher) -> dict[str, Any]:
    body = {
        "pushkey": pusher.pushkey,
        "kind": pusher.kind,
        "app_id": pusher.app_id,
        "app_display_name": pusher.app_display_name,
        "device_display_name": pusher.device_display_name,
        "lang": pusher.lang,
        "data": pusher.data,
    }
    return body if pusher.profile_tag is None else {**body, "profile_tag": pusher.profile_tag}


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if value is None:
        raise missing_param(f"`{key}` is missing.")
    if not isinstance(value, str):
        raise bad_json(f"`{key}` must be a string.")
    if len(value) > _LONGEST_TEXT:
        raise MatrixError("M_INVALID_PARAM", f"`{key}` is too long.", 400)
    return value
