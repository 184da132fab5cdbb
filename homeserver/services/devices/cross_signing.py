"""Cross-signing: a user's three signing keys, and the signatures made with them.

What the server can verify it verifies, so that no client is shown a signature that never held.

Spec: client-server-api #cross-signing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.device_keys import (
    check_cross_signing_key,
    check_cross_signing_signature,
    same_key_object,
    verify_key_signature,
)
from homeserver.protocol.errors import (
    MatrixError,
    bad_json,
    forbidden,
    invalid_param,
    missing_param,
    not_found,
    too_large,
)
from homeserver.services.devices.remote_keys import ask_servers, by_server, objects_of
from homeserver.storage.cross_signing import (
    MASTER,
    SELF_SIGNING,
    USER_SIGNING,
    CrossSigningKey,
    KeySignature,
    has_key,
    load_cross_signing_keys,
    load_visible_signatures,
    lock_cross_signing_keys,
    store_cross_signing_keys,
    store_signatures,
)
from homeserver.storage.device_keys import load_device_keys
from homeserver.storage.device_lists import CROSS_SIGNING
from homeserver.storage.devices import load_device_ids

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.runtime.clock import Clock
    from homeserver.services.devices.remote_keys import RemoteKeys
    from homeserver.storage.database import Database, Transaction

KEY_NAMES = {"master_key": MASTER, "self_signing_key": SELF_SIGNING, "user_signing_key": USER_SIGNING}
_REMOTE_TIMEOUT_MS = 10_000
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class SignableKey:
    """A key that a user may sign: the object as published, the signatures the user has put on it already
    (by key ID), and the keys they may sign it with (key ID -> public key in Base64).
    """

    key: Mapping[str, Any]
    present: Mapping[str, str]
    signers: Mapping[str, str]


Signable = dict[tuple[str, str], SignableKey]
"""By user ID, and device ID or public key."""


class CrossSigning:
    """Implements the accounts' `CrossSigningKeyIds` as well. `remote` is asked for other servers' master keys."""

    def __init__(self, server_name: str, database: Database, clock: Clock, remote: RemoteKeys) -> None:
        self._server_name = server_name
        self._database = database
        self._clock = clock
        self._remote = remote

    async def has_key(self, user_id: str, key_id: str) -> bool:
        """Whether this is the public key, in Base64, of one of the user's cross-signing keys."""
        return "\x00" not in key_id and await self._database.read(has_key, user_id, key_id)

    async def upload(self, user_id: str, keys: Mapping[str, Any], *, confirmed: bool) -> bool:
        """Publish keys by their names in `KEY_NAMES`. False if nothing was done because the user must confirm it:
        keys that are there are not replaced without.

        M_INVALID_PARAM, M_TOO_LARGE, M_INVALID_SIGNATURE, M_MISSING_PARAM without a master key, M_FORBIDDEN for a
        device's ID.
        """
        parsed = {}
        for name, usage in KEY_NAMES.items():
            if keys.get(name) is not None:
                parsed[usage] = _parsed(user_id, usage, keys[name])
        return await self._database.write(_store_upload, user_id, parsed, confirmed, self._clock.now_ms())

    async def upload_signatures(self, user_id: str, signed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Publish signatures by user ID and by device ID or public key; the errors of those refused."""
        for by_key in signed.values():
            if not isinstance(by_key, dict):
                raise bad_json("The signed keys of a user must be an object.")
        signable = await self._signable(user_id, list(signed))
        accepted: list[KeySignature] = []
        failures: dict[str, dict[str, Any]] = {}
        for target_user, by_key in signed.items():
            for key_id, signed_key in by_key.items():
                try:
                    accepted.extend(_judge(user_id, (target_user, key_id), signed_key, signable))
                except MatrixError as error:
                    failure = {"errcode": error.errcode, "error": error.sentence}
                    failures.setdefault(target_user, {})[key_id] = failure
        if accepted:
            own = await self._database.read(load_device_ids, user_id)
            on_own = {one.target_key for one in accepted if one.target_user_id == user_id}
            changed = sorted({key if key in own else CROSS_SIGNING for key in on_own})
            await self._database.write(store_signatures, user_id, accepted, changed, self._clock.now_ms())
        return failures

    async def _signable(self, signer: str, user_ids: Sequence[str]) -> Signable:
        questions = by_server(dict.fromkeys(user_ids, ()))
        local = questions.pop(self._server_name, {})
        signable = await self._database.read(_load_signable, signer, list(local))
        if not questions:
            return signable
        usk = (await self._database.read(load_cross_signing_keys, [signer])).get(signer, {}).get(USER_SIGNING)
        signers = {usk.key_id: usk.public_key} if usk is not None else {}
        answers, _ = await ask_servers(questions, self._remote.query, _REMOTE_TIMEOUT_MS)
        for server_name, answer in answers.items():
            for user_id, key in objects_of(answer, "master_keys", questions[server_name]).items():
                try:
                    public_key = check_cross_signing_key(user_id, MASTER, key)
                except MatrixError:
                    continue
                signable[(user_id, public_key)] = SignableKey(key, {}, signers)
        return signable


def _parsed(user_id: str, usage: str, key: Any) -> CrossSigningKey:
    public_key = check_cross_signing_key(user_id, usage, key)
    if len(orjson.dumps(key)) > _MOST_BYTES:
        raise too_large(f"A cross-signing key may have at most {_MOST_BYTES} bytes.")
    return CrossSigningKey(public_key, key)


def _store_upload(
    tx: Transaction, user_id: str, keys: Mapping[str, CrossSigningKey], confirmed: bool, now_ms: int
) -> bool:
    present = lock_cross_signing_keys(tx, user_id)
    master = keys.get(MASTER) or present.get(MASTER)
    if master is None:
        raise missing_param("There is no master key.")
    for usage, key in keys.items():
        if usage != MASTER:
            check_cross_signing_signature(key.key, user_id, master.public_key)
    if not {key.public_key for key in keys.values()}.isdisjoint(load_device_ids(tx.connection, user_id)):
        raise forbidden("The public key of a cross-signing key is the ID of a device.")
    new = {usage: key for usage, key in keys.items() if not _is_present(key, present.get(usage))}
    if not new:
        return True
    if MASTER in present and not confirmed:
        return False
    if MASTER not in new:
        store_cross_signing_keys(tx, user_id, new, (), now_ms)
    else:
        # A new master key: what the old one signed is worth nothing any more.
        removed = [usage for usage in present if usage not in keys]
        store_cross_signing_keys(tx, user_id, keys, removed, now_ms)
    return True


def _is_present(key: CrossSigningKey, present: CrossSigningKey | None) -> bool:
    return present is not None and same_key_object(key.key, present.key)


def _load_signable(connection: Connection, signer: str, user_ids: Sequence[str]) -> Signable:
    """The keys of local users that `signer` may sign, with what.

    Their own devices by the self-signing key, their own master key by their devices, the other two by the master key,
    and other users' master keys by the user-signing key.
    """
    keys = load_cross_signing_keys(connection, {*user_ids, signer})
    own = keys.get(signer, {})
    signers = {usage: {key.key_id: key.public_key} for usage, key in own.items()}
    rows = load_visible_signatures(connection, user_ids, signer)
    signable: Signable = {}

    def add(user_id: str, name: str, key: Mapping[str, Any], by: Mapping[str, str]) -> None:
        present = dict(key.get("signatures", {}).get(signer, {}))
        present |= {row.signer_key_id: row.signature for row in rows.get((user_id, name), ()) if row[2] == signer}
        signable[(user_id, name)] = SignableKey(key, present, by)

    for user_id in user_ids:
        if user_id == signer:
            devices = load_device_keys(connection, [signer]).get(signer, {})
            by_devices: dict[str, str] = {}
            for device_id, device in devices.items():
                add(signer, device_id, device.keys, signers.get(SELF_SIGNING, {}))
                key_id = f"ed25519:{device_id}"
                if key_id in device.keys["keys"]:
                    by_devices[key_id] = device.keys["keys"][key_id]
            for usage, key in own.items():
                add(signer, key.public_key, key.key, by_devices if usage == MASTER else signers.get(MASTER, {}))
        elif MASTER in keys.get(user_id, {}):
            master = keys[user_id][MASTER]
            add(user_id, master.public_key, master.key, signers.get(USER_SIGNING, {}))
    return signable


def _judge(signer: str, target: tuple[str, str], signed_key: Any, signable: Signable) -> list[KeySignature]:
    """The new signatures on one key, all of them verified. M_NOT_FOUND, M_INVALID_PARAM, M_INVALID_SIGNATURE."""
    found = signable.get(target)
    if found is None:
        raise not_found("There is no such key, or you cannot sign it.")
    if not isinstance(signed_key, dict) or not same_key_object(signed_key, found.key):
        raise invalid_param("This is not the key that was published.")
    signatures = signed_key.get("signatures")
    own = signatures.get(signer) if isinstance(signatures, dict) else None
    if not isinstance(own, dict) or not own:
        raise _invalid_signature("The key carries no signature of yours.")
    new = {key_id: signature for key_id, signature in own.items() if found.present.get(key_id) != signature}
    verifiable = new.keys() & found.signers.keys()
    if new and not verifiable:
        raise _invalid_signature("None of the signatures is by a key that may sign this one.")
    for key_id in verifiable:
        if not verify_key_signature(signed_key, signer, key_id, found.signers[key_id]):
            raise _invalid_signature(f"The signature by {key_id!r} is not valid.")
    return [KeySignature(*target, signer, key_id, new[key_id]) for key_id in sorted(verifiable)]


def _invalid_signature(sentence: str) -> MatrixError:
    return MatrixError("M_INVALID_SIGNATURE", sentence, 400)
