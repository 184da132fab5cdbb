"""The encryption services assembled over the accounts of `accounts_app`, with keys as clients would make them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accounts_app import PASSWORD, SERVER, AccountsApp, running_app
from sqlalchemy import insert

from homeserver.client_api.cross_signing import CrossSigningApi
from homeserver.client_api.device_management import DeviceManagementApi
from homeserver.client_api.key_backup import KeyBackupApi
from homeserver.client_api.keys import KeysApi
from homeserver.client_api.logout import LogoutApi
from homeserver.client_api.to_device import ToDeviceApi
from homeserver.protocol.edus import DirectToDevice
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.signing import SigningKey, sign_json
from homeserver.services.accounts.sessions import ClientDetails, Sessions
from homeserver.services.devices.cross_signing import CrossSigning
from homeserver.services.devices.device_keys import DeviceKeys
from homeserver.services.devices.device_news import DeviceNews
from homeserver.services.devices.devices import Devices
from homeserver.services.devices.encryption_retention import EncryptionRetention
from homeserver.services.devices.key_backups import KeyBackups
from homeserver.services.devices.to_device import ToDevice
from homeserver.storage.changes import Change
from homeserver.storage.database import Database, Transaction
from homeserver.storage.device_keys import EncryptionRows
from homeserver.storage.tables.rooms import memberships, rooms
from homeserver.testing import AsgiClient
from homeserver.web.app import build_asgi
from homeserver.web.endpoint import routes_of

ALICE, BOB, CAROL = (f"@{name}:{SERVER}" for name in ("alice", "bob", "carol"))
REMOTE = "@zoe:remote.example"


@dataclass
class OtherServer:
    """remote.example as federation would reach it: what it answers, what it was asked and what was queued for it."""

    keys: dict[str, Any] = field(default_factory=dict)
    one_time_keys: dict[str, Any] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    queued: list[tuple[str, DirectToDevice]] = field(default_factory=list)

    async def query(
        self, server_name: str, device_keys: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        self._note(server_name, device_keys)
        return self.keys

    async def claim(
        self, server_name: str, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        self._note(server_name, wanted)
        return {"one_time_keys": self.one_time_keys}

    def queue(self, tx: Transaction, server_name: str, message: DirectToDevice) -> None:
        self.queued.append((server_name, message))

    def _note(self, server_name: str, question: Any) -> None:
        if server_name != "remote.example":
            raise MatrixError("M_UNKNOWN", "This server cannot be reached.", 502)
        self.asked.append(question)


class EncryptionApp:
    """`client` calls the endpoints of encryption, device management and logout."""

    def __init__(self, base: AccountsApp) -> None:
        self.base, self.clock, self.database = base, base.clock, base.database
        self.other = OtherServer()
        self.changes: list[Change] = []
        rows = [EncryptionRows(self.clock)]
        self.keys = DeviceKeys(SERVER, self.database, self.clock, self.other)
        self.cross_signing = CrossSigning(SERVER, self.database, self.clock, self.other)
        self.to_device = ToDevice(SERVER, self.database, self.clock, base.randomness, self.other)
        self.backups = KeyBackups(self.database)
        self.news = DeviceNews(self.database)
        self.retention = EncryptionRetention(base.settings.retention, self.database, self.clock)
        self.sessions = Sessions(
            base.settings.sessions,
            self.database,
            self.clock,
            base.randomness,
            base.tokens,
            self.cross_signing,
            [],
            rows,
        )
        self.devices = Devices(self.database, self.clock, base.tokens, rows)
        apis = [
            KeysApi(self.keys),
            CrossSigningApi(self.cross_signing, base.interactive_auth),
            ToDeviceApi(self.to_device),
            KeyBackupApi(self.backups),
            DeviceManagementApi(self.devices, base.interactive_auth),
            LogoutApi(self.sessions),
        ]
        routes = [route for api in apis for route in routes_of(api)]
        self.client = AsgiClient(build_asgi(routes, base.tokens, base.limits))
        self.database.on_commit(self._follow)

    def _follow(self, changes: Sequence[Change], position: int | None) -> None:
        self.changes.extend(changes)
        self.news.follow(changes)

    async def user(self, name: str, device_id: str, display_name: str | None = None) -> AsgiClient:
        """A logged-in client of a user's device; the user is made if there is none."""
        user_id = f"@{name}:{SERVER}"
        if await self.base.accounts.find(user_id) is None:
            await self.base.accounts.create(name, password=PASSWORD)
        session = await self.sessions.begin(user_id, ClientDetails(device_id=device_id, display_name=display_name))
        return self.client.with_token(session.credentials.access_token)


@asynccontextmanager
async def running_encryption_app(folder: Path, **sections: dict[str, Any]) -> AsyncIterator[EncryptionApp]:
    """The app over a new database in `folder`."""
    async with running_app(folder, **sections) as base:
        yield EncryptionApp(base)


def key_pair(name: str) -> SigningKey:
    """A key of a device, named after it. The same name gives the same key."""
    return SigningKey(name, hashlib.sha256(name.encode()).digest())


def cross_signing_pair(name: str) -> SigningKey:
    """A cross-signing key, named after its own public half."""
    seed = hashlib.sha256(f"cross-signing {name}".encode()).digest()
    return SigningKey(SigningKey("", seed).verify_key_base64, seed)


def device_keys_of(user_id: str, device_id: str) -> dict[str, Any]:
    """Identity keys, signed by the device."""
    key = key_pair(device_id)
    keys = {
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{device_id}": key.verify_key_base64, f"curve25519:{device_id}": key.verify_key_base64},
    }
    return sign_json(keys, user_id, key)


def cross_signing_key(user_id: str, usage: str, key: SigningKey, by: SigningKey | None = None) -> dict[str, Any]:
    """The object to publish for a key, signed by the master key unless it is one."""
    published = {"user_id": user_id, "usage": [usage], "keys": {key.key_id: key.verify_key_base64}}
    return published if by is None else sign_json(published, user_id, by)


def cross_signing_keys_of(user_id: str) -> dict[str, Any]:
    """The three keys of a user, as `/keys/device_signing/upload` wants them."""
    master = cross_signing_pair(f"{user_id} master")
    return {
        "master_key": cross_signing_key(user_id, "master", master),
        "self_signing_key": cross_signing_key(
            user_id, "self_signing", cross_signing_pair(f"{user_id} self"), by=master
        ),
        "user_signing_key": cross_signing_key(
            user_id, "user_signing", cross_signing_pair(f"{user_id} user"), by=master
        ),
    }


def one_time_keys(*names: str, algorithm: str = "signed_curve25519") -> dict[str, Any]:
    """Keys by `algorithm:name`."""
    return {f"{algorithm}:{name}": {"key": f"key {name}", "signatures": {}} for name in names}


async def put_in_room(database: Database, room_nid: int, *user_ids: str, membership: str = "join") -> int:
    """Give users a membership in a room, as far as the table of memberships is concerned; the position of it."""

    def store(tx: Transaction) -> int:
        position = tx.next_position()
        for user_id in user_ids:
            key = {"room": room_nid, "user": user_id}
            gone = memberships.delete().where(
                memberships.c.room_nid == key["room"], memberships.c.user_id == key["user"]
            )
            tx.connection.execute(gone)
            row = {"room_nid": room_nid, "user_id": user_id, "membership": membership, "event_nid": 1, "local": True}
            tx.connection.execute(insert(memberships), {**row, "position": position, "sender": user_id})
        return position

    def make_room(tx: Transaction) -> None:
        if tx.connection.execute(rooms.select().where(rooms.c.nid == room_nid)).first() is None:
            row = {"nid": room_nid, "room_id": f"!{room_nid}:{SERVER}", "version": "11", "revision": 0}
            tx.connection.execute(insert(rooms), row)

    await database.write(make_room)
    return await database.write(store)
