"""What a push plugin deals with: pushers, notifications, and the transport that carries one to the other.
The server decides who is notified of what, queues it and retries; a transport delivers once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


class DeliveryFailed(Exception):
    """The notification could not be delivered now; the server tries again later."""


@dataclass(frozen=True, slots=True)
class Pusher:
    """One device's wish to be notified. `pushkey_ts_ms` is when it was last set. `data` is what the client gave.

    Spec: client-server-api #post_matrixclientv3pushersset
    """

    user_id: str
    kind: str
    app_id: str
    pushkey: str
    app_display_name: str
    device_display_name: str
    lang: str
    data: Mapping[str, Any]
    pushkey_ts_ms: int
    profile_tag: str | None = None
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What a device is to be told. `payload` is the `notification` object of the push gateway API without `devices`.

    `event_id` is None where only the counts have changed. `tweaks` come from the push rule that matched.

    Spec: push-gateway-api #post_matrixpushv1notify
    """

    payload: Mapping[str, Any]
    tweaks: Mapping[str, Any] = field(default_factory=dict)
    event_id: str | None = None


class PushTransport(Protocol):
    """Carries notifications to pushers of one `kind`."""

    @property
    def kind(self) -> str:
        """The `kind` of the pushers it serves, e.g. `http`."""

    def check(self, pusher: Pusher) -> Awaitable[None] | None:
        """Whether this pusher could be served at all; MatrixError (M_INVALID_PARAM, M_MISSING_PARAM) if not.

        May be a plain or an async method.
        """

    async def deliver(self, pusher: Pusher, notification: Notification) -> Collection[str]:
        """Deliver once. Returns the pushkeys that are of no use any more: their pushers are deleted.

        Raises DeliveryFailed, or anything else, to be asked again later.
        """


@runtime_checkable
class DigestTransport(PushTransport, Protocol):
    """A transport that tells several notifications at once, and lets them gather before.

    What waits is stored; what has been read or redacted in the meantime is left out.
    """

    async def due_ms(self, pusher: Pusher, oldest_ms: int) -> int:
        """When (milliseconds since 1970) to deliver what is waiting, the oldest of it since `oldest_ms`."""

    async def deliver_digest(self, pusher: Pusher, notifications: Sequence[Notification]) -> Collection[str]:
        """Deliver once, oldest first; answers and failures as those of `deliver`."""
