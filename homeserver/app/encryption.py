"""Builds what end-to-end encryption needs of the server: keys, signatures, messages to devices, backups.

The server never sees what is encrypted; it stores and passes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver.services.devices.cross_signing import CrossSigning
from homeserver.services.devices.device_keys import DeviceKeys
from homeserver.services.devices.device_news import DeviceNews
from homeserver.services.devices.encryption_retention import EncryptionRetention
from homeserver.services.devices.key_backups import KeyBackups
from homeserver.services.devices.remote_keys import RemoteKeys
from homeserver.services.devices.to_device import RemoteToDevice, ToDevice
from homeserver.storage.database import Database
from homeserver.storage.device_keys import EncryptionRows
from homeserver_config.settings import Settings


@dataclass(frozen=True, slots=True)
class EncryptionParts:
    """What the HTTP side and other parts use of encryption. `rows` go wherever devices are made and deleted."""

    rows: EncryptionRows
    keys: DeviceKeys
    cross_signing: CrossSigning
    to_device: ToDevice
    backups: KeyBackups
    news: DeviceNews
    retention: EncryptionRetention


def build_encryption(
    settings: Settings,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    remote_keys: RemoteKeys,
    remote_to_device: RemoteToDevice,
) -> EncryptionParts:
    """Everything about encryption."""
    server_name = settings.server.server_name
    return EncryptionParts(
        rows=EncryptionRows(clock),
        keys=DeviceKeys(server_name, database, clock, remote_keys),
        cross_signing=CrossSigning(server_name, database, clock, remote_keys),
        to_device=ToDevice(server_name, database, clock, randomness, remote_to_device),
        backups=KeyBackups(database),
        news=DeviceNews(database),
        retention=EncryptionRetention(settings.retention, database, clock),
    )
