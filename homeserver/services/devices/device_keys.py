"""The keys of devices: uploaded by their owners, queried and claimed by everyone else.

The server checks shapes and hands out one-time keys once; whether to trust a key is for clients to decide.

Spec: client-server-api #key-distribution
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.device_keys import check_device_keys, check_one_time_keys, merge_signatures, same_key_object
from homeserver.protocol.errors import invalid_param, too_large, unknown_token
from homeserver.services.devices.remote_keys import ask_servers, by_server, objects_of
from homeserver.storage.cross_signing import (
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    CrossSigningKey,
    KeySignature,
    load_cross_signing_keys,
    load_visible_signatures,
)
from homeserver.storage.database import load_position
from homeserver.storage.device_keys import DeviceIdentity, load_device_keys, store_device_keys
from homeserver.storage.device_lists import load_changed_users, load_latest_change, load_sharing_changes
from homeserver.storage.devices import find_device
from homeserver.storage.one_time_keys import (
    Claimed,
    DeviceKeyCounts,
    Wanted,
    add_one_time_keys,
    claim_keys,
    load_key_counts,
    load_one_time_keys,
    note_key_changes,
    store_fallback_key,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.runtime.clock import Clock
    from homeserver.services.devices.remote_keys import RemoteKeys
    from homeserver.storage.database import Database, Transaction

SIGNED_CURVE25519 = "signed_curve25519"
MOST_ONE_TIME_KEYS = 1000
_MOST_BYTES = 65_536
_MOST_BYTES_OF_ONE_TIME_KEY = 16_384
_LONGEST_TIMEOUT_MS = 60_000
_NOBODY = ""

Signatures = Mapping[tuple[str, str], Sequence[KeySignature]]


@dataclass(frozen=True, slots=True)
class KeyUpload:
    """What a device uploads. Each part is as sent; None for one that is missing."""

    device_keys: Any = None
    one_time_keys: Any = None
    fallback_keys: Any = None

    @property
    def is_empty(self) -> bool:
        return self.device_keys is None and not self.one_time_keys and not self.fallback_keys


@dataclass(slots=True)
class PublishedKeys:
    """The answer to a query, by user ID."""

    device_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    master_keys: dict[str, Any] = field(default_factory=dict)
    self_signing_keys: dict[str, Any] = field(default_factory=dict)
    user_signing_keys: dict[str, Any] = field(default_factory=dict)


class DeviceKeys:
    """`remote` is asked for the keys of other servers' users."""

    def __init__(self, server_name: str, database: Database, clock: Clock, remote: RemoteKeys) -> None:
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._remote = remote

    async def upload(self, user_id: str, device_id: str | None, upload: KeyUpload) -> dict[str, int]:
        """Publish keys of a device; how many one-time keys it has now, by algorithm.

        M_INVALID_PARAM, M_MISSING_PARAM, M_TOO_LARGE.
        """
        if device_id is None:
            raise invalid_param("Only a device can upload keys, and this access token belongs to none.")
        check_upload(user_id, device_id, upload)
        if upload.is_empty:
            counts = await self._database.read(load_key_counts, user_id, device_id)
        else:
            now_ms = self._clock.now_ms()
            counts = await self._database.write(store_upload, user_id, device_id, upload, now_ms)
        return with_usual_algorithm(counts.one_time)

    async def query(
        self, reader: str, device_keys: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> tuple[PublishedKeys, dict[str, Any]]:
        """Keys of users, of the devices named or of all where none is, as `reader` may see them; and the failures."""
        questions = by_server(device_keys)
        local = questions.pop(self._server_name, {})
        answer = await self._database.read(_load_published, local, reader)
        if not questions:
            return answer, {}
        timeout_ms = _bounded(timeout_ms)
        answers, failures = await ask_servers(questions, self._remote.query, timeout_ms)
        users = [user_id for server_name in answers for user_id in questions[server_name]]
        signatures = await self._database.read(load_visible_signatures, users, reader)
        for server_name, found in answers.items():
            _add_remote(answer, found, questions[server_name], signatures)
        return answer, failures

    async def query_local(self, device_keys: Mapping[str, Sequence[str]]) -> PublishedKeys:
        """Keys of our users, as other servers may see them."""
        local = by_server(device_keys).get(self._server_name, {})
        return await self._database.read(_load_published, local, _NOBODY)

    async def claim(
        self, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, Any]]:
        """Claim a key of each device for an algorithm: keys by user, device and key ID; and the failures."""
        questions = by_server(wanted)
        keys = await self._claim(questions.pop(self._server_name, {}))
        answers, failures = await ask_servers(questions, self._remote.claim, _bounded(timeout_ms))
        for server_name, found in answers.items():
            for user_id, by_device in objects_of(found, "one_time_keys", questions[server_name]).items():
                asked = questions[server_name][user_id]
                keys[user_id] = {
                    device: key for device, key in by_device.items() if device in asked and isinstance(key, dict)
                }
        return keys, failures

    async def claim_local(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, dict[str, Any]]]:
        """Claim keys of our users, for another server."""
        return await self._claim(by_server(wanted).get(self._server_name, {}))

    async def changes(self, user_id: str, after: int) -> tuple[set[str], set[str]]:
        """Since a position: whose keys to look up again, and with whom the user shares no room any more."""
        return await self._database.read(_load_changes, user_id, after)

    async def user_devices(self, user_id: str) -> dict[str, Any]:
        """All that other servers may know of one of our users' devices.

        Spec: server-server-api #get_matrixfederationv1userdevicesuserid
        """
        stream_id, keys = await self._database.read(_load_device_list, user_id)
        devices = []
        for device_id, device in keys.device_keys.get(user_id, {}).items():
            entry = {"device_id": device_id, "keys": {key: value for key, value in device.items() if key != "unsigned"}}
            name = device.get("unsigned", {}).get("device_display_name")
            devices.append(entry if name is None else {**entry, "device_display_name": name})
        answer: dict[str, Any] = {"user_id": user_id, "stream_id": stream_id, "devices": devices}
        for name, found in (("master_key", keys.master_keys), ("self_signing_key", keys.self_signing_keys)):
            if user_id in found:
                answer[name] = found[user_id]
        return answer

    async def _claim(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, dict[str, Any]]]:
        keys: dict[str, dict[str, dict[str, Any]]] = {}
        flat = [
            Wanted(user_id, device_id, algorithm)
            for user_id, by_device in wanted.items()
            for device_id, algorithm in by_device.items()
            if "\x00" not in device_id + algorithm
        ]
        claimed: list[Claimed] = await self._database.write(claim_keys, flat) if flat else []
        for one in claimed:
            keys.setdefault(one.user_id, {})[one.device_id] = {one.key_id: orjson.Fragment(one.key)}
        return keys


def with_usual_algorithm(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts that say so when the one algorithm all clients use has no keys left: some wait to be told."""
    return {SIGNED_CURVE25519: 0, **counts}


def check_upload(user_id: str, device_id: str, upload: KeyUpload) -> None:
    """Raise M_INVALID_PARAM, M_MISSING_PARAM or M_TOO_LARGE for keys of the wrong shape."""
    if upload.device_keys is not None:
        check_device_keys(user_id, device_id, upload.device_keys)
        _check_size(upload.device_keys, _MOST_BYTES)
    for keys in (upload.one_time_keys, upload.fallback_keys):
        if keys is not None:
            check_one_time_keys(keys)
            if any("\x00" in key_id for key_id in keys):
                raise invalid_param("The ID of a key must not contain a NUL.")
            for key in keys.values():
                _check_size(key, _MOST_BYTES_OF_ONE_TIME_KEY)
    algorithms = [key_id.partition(":")[0] for key_id in upload.fallback_keys or ()]
    if len(set(algorithms)) < len(algorithms):
        raise invalid_param("There is at most one fallback key for each algorithm.")


def _check_size(key: Any, most_bytes: int) -> None:
    if len(orjson.dumps(key)) > most_bytes:
        raise too_large(f"Such a key may have at most {most_bytes} bytes.")


def store_upload(tx: Transaction, user_id: str, device_id: str, upload: KeyUpload, now_ms: int) -> DeviceKeyCounts:
    """Store the keys of a device that exists, and count what it has now."""
    if find_device(tx.connection, user_id, device_id) is None:
        raise unknown_token("This device has been deleted.")
    changed = _store_one_time_keys(tx, user_id, device_id, upload.one_time_keys or {})
    for key_id, key in (upload.fallback_keys or {}).items():
        changed |= store_fallback_key(tx, user_id, device_id, key_id, key)
    if upload.device_keys is not None:
        store_device_keys(tx, user_id, device_id, upload.device_keys, now_ms)
    if changed:
        note_key_changes(tx, [(user_id, device_id)])
    return load_key_counts(tx.connection, user_id, device_id)


def _store_one_time_keys(tx: Transaction, user_id: str, device_id: str, keys: Mapping[str, Any]) -> bool:
    if not keys:
        return False
    present = load_one_time_keys(tx.connection, user_id, device_id)
    for key_id in keys.keys() & present.keys():
        if not _is_same_key(present[key_id], keys[key_id]):
            raise invalid_param(f"There is another one-time key {key_id!r} already.")
    new = {key_id: key for key_id, key in keys.items() if key_id not in present}
    if len(present) + len(new) > MOST_ONE_TIME_KEYS:
        raise too_large(f"A device may have at most {MOST_ONE_TIME_KEYS} one-time keys.")
    if new:
        add_one_time_keys(tx, user_id, device_id, new)
    return bool(new)


def _is_same_key(first: Any, second: Any) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return same_key_object(first, second)
    return bool(first == second)


def _load_published(connection: Connection, wanted: Mapping[str, Sequence[str]], reader: str) -> PublishedKeys:
    published = PublishedKeys()
    if not wanted:
        return published
    signatures = load_visible_signatures(connection, wanted, reader)
    for user_id, devices in load_device_keys(connection, wanted).items():
        named = wanted[user_id]
        published.device_keys[user_id] = {
            device_id: _shown_device(user_id, device_id, device, signatures)
            for device_id, device in devices.items()
            if not named or device_id in named
        }
    for user_id, keys in load_cross_signing_keys(connection, wanted).items():
        shown = {usage: _shown_key(user_id, key, signatures) for usage, key in keys.items()}
        if MASTER in shown:
            published.master_keys[user_id] = shown[MASTER]
        if SELF_SIGNING in shown:
            published.self_signing_keys[user_id] = shown[SELF_SIGNING]
        if USER_SIGNING in shown and user_id == reader:
            published.user_signing_keys[user_id] = shown[USER_SIGNING]
    return published


def _shown_device(user_id: str, device_id: str, device: DeviceIdentity, signatures: Signatures) -> dict[str, Any]:
    shown = _with_signatures(device.keys, signatures.get((user_id, device_id), ()))
    shown["unsigned"] = {} if device.display_name is None else {"device_display_name": device.display_name}
    return shown


def _shown_key(user_id: str, key: CrossSigningKey, signatures: Signatures) -> dict[str, Any]:
    return _with_signatures(key.key, signatures.get((user_id, key.public_key), ()))


def _with_signatures(key: Mapping[str, Any], signatures: Iterable[KeySignature]) -> dict[str, Any]:
    added: dict[str, dict[str, str]] = {}
    for one in signatures:
        added.setdefault(one.signer_user_id, {})[one.signer_key_id] = one.signature
    return merge_signatures(key, {"signatures": added}) if added else dict(key)


def _add_remote(
    published: PublishedKeys, answer: Mapping[str, Any], asked: Mapping[str, Sequence[str]], signatures: Signatures
) -> None:
    for user_id, devices in objects_of(answer, "device_keys", asked).items():
        published.device_keys[user_id] = {
            device_id: device
            for device_id, device in devices.items()
            if _is_device(device, user_id, device_id) and (not asked[user_id] or device_id in asked[user_id])
        }
    for user_id, key in objects_of(answer, "master_keys", asked).items():
        public_keys = [value for value in _values(key.get("keys")) if isinstance(value, str)]
        added = [one for public_key in public_keys for one in signatures.get((user_id, public_key), ())]
        has_shape = isinstance(key.get("signatures", {}), dict) and all(
            isinstance(by_key, dict) for by_key in _values(key.get("signatures"))
        )
        published.master_keys[user_id] = _with_signatures(key, added) if has_shape else key
    published.self_signing_keys.update(objects_of(answer, "self_signing_keys", asked))


def _is_device(device: object, user_id: str, device_id: str) -> bool:
    return isinstance(device, dict) and device.get("user_id") == user_id and device.get("device_id") == device_id


def _values(value: object) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else ()


def _load_changes(connection: Connection, user_id: str, after: int) -> tuple[set[str], set[str]]:
    came, went = load_sharing_changes(connection, user_id, after)
    changed = load_changed_users(connection, user_id, after, load_position(connection))
    return (changed | came) - went, went


def _load_device_list(connection: Connection, user_id: str) -> tuple[int, PublishedKeys]:
    return load_latest_change(connection, user_id), _load_published(connection, {user_id: ()}, _NOBODY)


def _bounded(timeout_ms: int) -> int:
    return max(1, min(timeout_ms, _LONGEST_TIMEOUT_MS))
