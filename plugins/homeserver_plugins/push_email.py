"""Digests of unread messages by e-mail: pushers of the kind `email`, for people who are away for a while.
The server works out what is unread and keeps it; this plugin decides when to write, and what.

Spec: client-server-api #post_matrixclientv3pushersset
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from pydantic import Field
from starlette.responses import HTMLResponse

from homeserver.plugin_api import (
    Auth,
    DeliveryFailed,
    Duration,
    MailPart,
    MatrixError,
    Notification,
    PluginContext,
    Pusher,
    PushTransport,
    Request,
    Section,
    endpoint,
    error_page,
    hookimpl,
    invalid_param,
    page,
)

_PATH = "/_starling/client/unsubscribe"
_APP_ID = "m.email"
_EMAIL = "email"
_MOST_OF_A_ROOM = 10
_LONGEST_BODY = 200
_FORGOTTEN_AFTER_MS = 30 * 86_400_000
_KEY = "link-key"
_EXPIRED = "This link does not work."


class PushEmailSettings(Section):
    """Digests of unread messages by e-mail."""

    delay: Duration = Field(
        default=Duration.parse("10m"), description="How long a message stays unread before anybody is written to."
    )
    first_pause: Duration = Field(
        default=Duration.parse("1h"),
        description="How long after a digest the next one comes at the earliest; it doubles with every further one.",
    )
    longest_pause: Duration = Field(
        default=Duration.parse("1d"), description="What the pause doubles up to; after twice as long it starts anew."
    )
    show_messages: bool = Field(
        default=True, description="Whether digests quote messages; if not, they say how many there are in which room."
    )
    room_link: str = Field(
        default="https://matrix.to/#", description="What links to rooms begin with; a slash and the room's id follow."
    )


class EmailTransport:
    """The transport. Implements `DigestTransport`."""

    kind = _EMAIL

    def __init__(self, context: PluginContext, settings: PushEmailSettings) -> None:
        self._context = context
        self._settings = settings

    async def check(self, pusher: Pusher) -> None:
        if not self._context.mail.enabled:
            raise invalid_param("This server sends no e-mail.")
        if pusher.app_id != _APP_ID:
            raise invalid_param(f"`app_id` must be {_APP_ID} for pushers of this kind.")
        if not await self._is_theirs(pusher):
            raise MatrixError("M_THREEPID_NOT_FOUND", "`pushkey` must be an e-mail address of your account.", 400)

    async def due_ms(self, pusher: Pusher, oldest_ms: int) -> int:
        last = await self._context.store.find(_sent_key(pusher))
        due_ms = oldest_ms + self._settings.delay
        return due_ms if last is None else max(due_ms, int(last["sent_ms"]) + int(last["pause_ms"]))

    async def deliver(self, pusher: Pusher, notification: Notification) -> Collection[str]:
        return await self.deliver_digest(pusher, [notification])

    async def deliver_digest(self, pusher: Pusher, notifications: Sequence[Notification]) -> Collection[str]:
        if not self._context.mail.enabled:
            raise DeliveryFailed("this server sends no e-mail any more")
        if not await self._is_theirs(pusher):
            # Addresses come and go; whoever has this one now is not to lose a pusher of their own.
            return ()
        link = await self._unsubscribe_link(pusher)
        values: dict[str, str | Sequence[MailPart]] = {
            "user_id": pusher.user_id,
            "count": str(len(notifications)),
            "rooms": [self._room(shown) for shown in _by_room(notifications)],
            "unsubscribe_link": link,
        }
        headers = {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
        try:
            await self._context.mail.send(pusher.pushkey, "digest", values, headers)
        except MatrixError as error:
            raise DeliveryFailed(error.sentence) from error
        await self._note_sent(pusher)
        return ()

    async def unsubscribe(self, user_id: str, pushkey: str, signature: str) -> bool:
        """Take a pusher away by its link; False if the link is not ours."""
        if not await self.is_ours(user_id, pushkey, signature):
            return False
        await self._context.pushers.delete(user_id, _APP_ID, pushkey)
        return True

    async def is_ours(self, user_id: str, pushkey: str, signature: str) -> bool:
        """Whether a link was made here."""
        return hmac.compare_digest(signature.encode(), (await self._sign(user_id, pushkey)).encode())

    async def _is_theirs(self, pusher: Pusher) -> bool:
        addresses = await self._context.accounts.addresses(pusher.user_id, _EMAIL)
        return pusher.pushkey.casefold() in addresses

    async def _note_sent(self, pusher: Pusher) -> None:
        settings, key, now_ms = self._settings, _sent_key(pusher), self._context.clock.now_ms()
        last = await self._context.store.find(key)
        pause_ms = int(settings.first_pause)
        if last is not None and now_ms - int(last["sent_ms"]) < 2 * settings.longest_pause:
            pause_ms = min(int(last["pause_ms"]) * 2, int(settings.longest_pause))
        value = {"sent_ms": now_ms, "pause_ms": pause_ms}
        await self._context.store.put(key, value, expires_ms=now_ms + _FORGOTTEN_AFTER_MS)

    def _room(self, notifications: Sequence[Notification]) -> MailPart:
        mail, payload = self._context.mail, notifications[-1].payload
        room_id = str(payload.get("room_id", ""))
        messages = [
            mail.part("digest_message", {"sender": _sender(one.payload), "body": _body(one.payload)})
            for one in notifications[-_MOST_OF_A_ROOM:]
        ]
        return mail.part(
            "digest_room",
            {
                "room": str(payload.get("room_name") or payload.get("room_alias") or _sender(payload)),
                "count": str(len(notifications)),
                "messages": messages if self._settings.show_messages else "",
                "link": f"{self._settings.room_link}/{quote(room_id, safe='!:.-_')}",
            },
        )

    async def _unsubscribe_link(self, pusher: Pusher) -> str:
        signature = await self._sign(pusher.user_id, pusher.pushkey)
        query = urlencode({"user": pusher.user_id, "address": pusher.pushkey, "signature": signature})
        return f"{self._context.public_baseurl}{_PATH}?{query}"

    async def _sign(self, user_id: str, pushkey: str) -> str:
        store = self._context.store
        key = await store.find(_KEY)
        if key is None:
            await store.put_new(_KEY, self._context.randomness.token())
            key = await store.find(_KEY)
        return hmac.new(str(key).encode(), f"{user_id} {pushkey}".encode(), hashlib.sha256).hexdigest()


class UnsubscribeApi:
    """The page behind the link. Looking at it changes nothing: mail scanners look at every link."""

    def __init__(self, transport: EmailTransport) -> None:
        self._transport = transport

    @endpoint("GET", _PATH, auth=Auth.NONE, limit="login_address")
    async def ask(self, request: Request) -> HTMLResponse:
        given = dict(request.query)
        if not await self._transport.is_ours(*_link_values(given)):
            return error_page(_EXPIRED, 400)
        question = f"<p>No more digests to {escape(given['address'])}?</p>"
        return page("Unsubscribe", f'{question}<form method="post"><button>No more digests</button></form>')

    @endpoint("POST", _PATH, auth=Auth.NONE, limit="login_address", body=bytes, max_body_bytes=16_384)
    async def unsubscribe(self, request: Request, body: bytes) -> HTMLResponse:
        """From the page, or in one click from a mail program (RFC 8058): the link says everything."""
        given = {**dict(parse_qsl(body.decode("utf-8", "replace"))), **dict(request.query)}
        if not await self._transport.unsubscribe(*_link_values(given)):
            return error_page(_EXPIRED, 400)
        return page("Done", "<p>You will get no more digests.</p>")


class Plugin:
    """`push_email`."""

    Settings = PushEmailSettings

    def __init__(self, context: PluginContext, settings: PushEmailSettings) -> None:
        self._transport = EmailTransport(context, settings)

    @hookimpl
    def register_push_transports(self) -> Sequence[PushTransport]:
        return [self._transport]

    @hookimpl
    def register_routes(self) -> Sequence[object]:
        return [UnsubscribeApi(self._transport)]


def _sent_key(pusher: Pusher) -> str:
    return f"sent {pusher.user_id} {pusher.pushkey}"


def _link_values(given: Mapping[str, str]) -> tuple[str, str, str]:
    return given.get("user", ""), given.get("address", ""), given.get("signature", "")


def _by_room(notifications: Sequence[Notification]) -> list[list[Notification]]:
    rooms: dict[Any, list[Notification]] = {}
    for one in notifications:
        rooms.setdefault(one.payload.get("room_id"), []).append(one)
    return list(rooms.values())


def _sender(payload: Mapping[str, Any]) -> str:
    return str(payload.get("sender_display_name") or payload.get("sender") or "")


def _body(payload: Mapping[str, Any]) -> str:
    """A line about an event."""
    if payload.get("type") == "m.room.encrypted":
        return "(encrypted message)"
    if payload.get("type") == "m.room.member":
        return "(invitation)"
    content = payload.get("content")
    body = content.get("body") if isinstance(content, Mapping) else None
    if not isinstance(body, str):
        return "(message)"
    text = " ".join(body.split())
    return text if len(text) <= _LONGEST_BODY else text[: _LONGEST_BODY - 1] + "…"
