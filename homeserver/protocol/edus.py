"""Ephemeral data units: typed shapes of all that servers send each other, and the reading of untrusted ones.
What an EDU says about users of other servers than its sender is dropped.

Spec: server-server-api #edus
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from homeserver.protocol.identifiers import is_event_id, is_room_id, is_user_id, server_name_of

MAX_EDUS_PER_TRANSACTION: Final = 100
MAX_PDUS_PER_TRANSACTION: Final = 50
# The specification says 32, but some servers pass on the longer transaction IDs of clients, and keys must not get lost.
MAX_MESSAGE_ID_CHARACTERS: Final = 255
PRESENCE_STATES: Final = frozenset({"online", "unavailable", "offline"})


class EduError(ValueError):
    """The EDU is malformed, or speaks for users of another server; it is ignored as a whole."""


@dataclass(frozen=True, slots=True)
class Typing:
    room_id: str
    user_id: str
    typing: bool

    def to_edu(self) -> dict[str, Any]:
        return _edu("m.typing", {"room_id": self.room_id, "typing": self.typing, "user_id": self.user_id})


@dataclass(frozen=True, slots=True)
class Receipt:
    """One user's public read receipt; `thread_id` is None for an unthreaded one."""

    room_id: str
    user_id: str
    event_id: str
    ts_ms: int
    thread_id: str | None = None


@dataclass(frozen=True, slots=True)
class Receipts:
    receipts: tuple[Receipt, ...]

    def to_edu(self) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for receipt in self.receipts:
            data: dict[str, Any] = {"ts": receipt.ts_ms}
            if receipt.thread_id is not None:
                data["thread_id"] = receipt.thread_id
            readers = content.setdefault(receipt.room_id, {}).setdefault("m.read", {})
            readers[receipt.user_id] = {"data": data, "event_ids": [receipt.event_id]}
        return _edu("m.receipt", content)


@dataclass(frozen=True, slots=True)
class PresenceUpdate:
    user_id: str
    presence: str
    last_active_ago_ms: int | None = None
    status_msg: str | None = None
    currently_active: bool = False


@dataclass(frozen=True, slots=True)
class Presence:
    updates: tuple[PresenceUpdate, ...]

    def to_edu(self) -> dict[str, Any]:
        return _edu("m.presence", {"push": [_presence_entry(update) for update in self.updates]})


@dataclass(frozen=True, slots=True)
class DeviceListUpdate:
    """`prev_ids` are the earlier updates of the user that no update has referred to yet; a gap means a lost one."""

    user_id: str
    device_id: str
    stream_id: int
    prev_ids: tuple[int, ...] = ()
    deleted: bool = False
    device_display_name: str | None = None
    keys: Mapping[str, Any] | None = None

    def to_edu(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "device_id": self.device_id,
            "prev_id": list(self.prev_ids),
            "stream_id": self.stream_id,
            "user_id": self.user_id,
        }
        if self.deleted:
            content["deleted"] = True
        if self.device_display_name is not None:
            content["device_display_name"] = self.device_display_name
        if self.keys is not None:
            content["keys"] = dict(self.keys)
        return _edu("m.device_list_update", content)


@dataclass(frozen=True, slots=True)
class SigningKeyUpdate:
    user_id: str
    master_key: Mapping[str, Any] | None = None
    self_signing_key: Mapping[str, Any] | None = None

    def to_edu(self) -> dict[str, Any]:
        content: dict[str, Any] = {"user_id": self.user_id}
        if self.master_key is not None:
            content["master_key"] = dict(self.master_key)
        if self.self_signing_key is not None:
            content["self_signing_key"] = dict(self.self_signing_key)
        return _edu("m.signing_key_update", content)


@dataclass(frozen=True, slots=True)
class DirectToDevice:
    """`messages` are contents by user ID and by device ID; the device ID `*` means all devices of the user."""

    sender: str
    type: str
    message_id: str
    messages: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def to_edu(self) -> dict[str, Any]:
        content = {
            "message_id": self.message_id,
            "messages": {user_id: dict(by_device) for user_id, by_device in self.messages.items()},
            "sender": self.sender,
            "type": self.type,
        }
        return _edu("m.direct_to_device", content)


Edu: TypeAlias = Typing | Receipts | Presence | DeviceListUpdate | SigningKeyUpdate | DirectToDevice


def parse_edu(edu: object, origin: str) -> Edu | None:
    """The EDU a server sent; None when its type is unknown. Raises EduError."""
    if not isinstance(edu, dict):
        raise EduError("An EDU is an object")
    edu_type, content = edu.get("edu_type"), edu.get("content")
    if not isinstance(edu_type, str) or not isinstance(content, dict):
        raise EduError("An EDU has a type and a content")
    parser = _PARSERS.get(edu_type)
    return None if parser is None else parser(content, origin)


def _parse_typing(content: Mapping[str, Any], origin: str) -> Typing:
    room_id, typing = content.get("room_id"), content.get("typing")
    if not isinstance(room_id, str) or not is_room_id(room_id) or not isinstance(typing, bool):
        raise EduError("m.typing needs a room and whether the user is typing")
    return Typing(room_id, _own_user(content.get("user_id"), origin), typing)


def _parse_receipts(content: Mapping[str, Any], origin: str) -> Receipts:
    return Receipts(tuple(_receipts_in(content, origin)))


def _receipts_in(content: Mapping[str, Any], origin: str) -> Iterator[Receipt]:
    for room_id, by_type in content.items():
        readers = by_type.get("m.read") if isinstance(by_type, dict) else None
        if not is_room_id(room_id) or not isinstance(readers, dict):
            continue
        for user_id, receipt in readers.items():
            parsed = _find_receipt(room_id, user_id, receipt)
            if parsed is not None and _is_own_user(user_id, origin):
                yield parsed


def _find_receipt(room_id: str, user_id: str, receipt: object) -> Receipt | None:
    if not isinstance(receipt, dict):
        return None
    event_ids, data = receipt.get("event_ids"), receipt.get("data")
    if not isinstance(event_ids, list) or len(event_ids) != 1 or not isinstance(data, dict):
        return None
    [event_id], ts_ms, thread_id = event_ids, data.get("ts"), data.get("thread_id")
    if not isinstance(event_id, str) or not is_event_id(event_id) or type(ts_ms) is not int:
        return None
    if thread_id is not None and not isinstance(thread_id, str):
        return None
    return Receipt(room_id, user_id, event_id, ts_ms, thread_id)


def _parse_presence(content: Mapping[str, Any], origin: str) -> Presence:
    push = content.get("push")
    if not isinstance(push, list):
        raise EduError("m.presence has a list of updates")
    updates = (_find_presence_update(update, origin) for update in push)
    return Presence(tuple(update for update in updates if update is not None))


def _find_presence_update(update: object, origin: str) -> PresenceUpdate | None:
    if not isinstance(update, dict) or not _is_own_user(update.get("user_id"), origin):
        return None
    presence, ago, status = update.get("presence"), update.get("last_active_ago"), update.get("status_msg")
    if not isinstance(presence, str) or presence not in PRESENCE_STATES:
        return None
    return PresenceUpdate(
        update["user_id"],
        presence,
        ago if type(ago) is int else None,
        status if isinstance(status, str) else None,
        update.get("currently_active") is True,
    )


def _parse_device_list_update(content: Mapping[str, Any], origin: str) -> DeviceListUpdate:
    user_id = _own_user(content.get("user_id"), origin)
    device_id, stream_id = content.get("device_id"), content.get("stream_id")
    prev_ids, name = content.get("prev_id") or [], content.get("device_display_name")
    if not isinstance(device_id, str) or type(stream_id) is not int:
        raise EduError("m.device_list_update needs a device and a stream ID")
    if not isinstance(prev_ids, list) or not all(type(prev_id) is int for prev_id in prev_ids):
        raise EduError("The earlier updates of m.device_list_update are a list of integers")
    return DeviceListUpdate(
        user_id,
        device_id,
        stream_id,
        tuple(prev_ids),
        content.get("deleted") is True,
        name if isinstance(name, str) else None,
        _object_or_none(content, "keys"),
    )


def _parse_signing_key_update(content: Mapping[str, Any], origin: str) -> SigningKeyUpdate:
    return SigningKeyUpdate(
        _own_user(content.get("user_id"), origin),
        _object_or_none(content, "master_key"),
        _object_or_none(content, "self_signing_key"),
    )


def _parse_direct_to_device(content: Mapping[str, Any], origin: str) -> DirectToDevice:
    sender = _own_user(content.get("sender"), origin)
    event_type, message_id, messages = content.get("type"), content.get("message_id"), content.get("messages")
    if not isinstance(event_type, str) or not isinstance(message_id, str):
        raise EduError("m.direct_to_device needs a type and a message ID")
    if len(message_id) > MAX_MESSAGE_ID_CHARACTERS:
        raise EduError(f"Message IDs have at most {MAX_MESSAGE_ID_CHARACTERS} characters")
    if not isinstance(messages, dict):
        raise EduError("The messages of m.direct_to_device are an object")
    for by_device in messages.values():
        if not isinstance(by_device, dict) or not all(isinstance(message, dict) for message in by_device.values()):
            raise EduError("The messages of m.direct_to_device are objects by user and by device")
    return DirectToDevice(sender, event_type, message_id, messages)


def _own_user(user_id: object, origin: str) -> str:
    if isinstance(user_id, str) and _is_own_user(user_id, origin):
        return user_id
    raise EduError("The EDU is not about a user of the sending server")


def _is_own_user(user_id: object, origin: str) -> bool:
    return isinstance(user_id, str) and is_user_id(user_id) and server_name_of(user_id) == origin


def _object_or_none(content: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = content.get(key)
    if value is not None and not isinstance(value, dict):
        raise EduError(f"{key} is an object")
    return value


def _presence_entry(update: PresenceUpdate) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "currently_active": update.currently_active,
        "last_active_ago": update.last_active_ago_ms or 0,
        "presence": update.presence,
        "user_id": update.user_id,
    }
    if update.status_msg is not None:
        entry["status_msg"] = update.status_msg
    return entry


def _edu(edu_type: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"content": content, "edu_type": edu_type}


_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Edu]]] = {
    "m.device_list_update": _parse_device_list_update,
    "m.direct_to_device": _parse_direct_to_device,
    "m.presence": _parse_presence,
    "m.receipt": _parse_receipts,
    "m.signing_key_update": _parse_signing_key_update,
    "m.typing": _parse_typing,
}
