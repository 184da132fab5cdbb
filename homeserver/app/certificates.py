"""Certificates of listeners, loaded again when their files change: new connections get the new ones, none is cut.

What cannot be loaded is logged, and the old certificate stays.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import structlog

_LOOK_EVERY_S = 30.0
_log = structlog.get_logger("homeserver.certificates")


@dataclass
class ListenerCertificate:
    """The files of one listener, and the TLS context that is to have what is in them."""

    certificate: Path
    key: Path
    context: ssl.SSLContext
    loaded: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.loaded = self._stamp()

    def renew(self) -> bool:
        """Load the files if they changed since the last time; whether new connections get something new."""
        try:
            stamp = self._stamp()
            if stamp == self.loaded:
                return False
            # A key that does not fit would leave the context in use without any.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
            self.context.load_cert_chain(self.certificate, self.key)
        except OSError as error:
            _log.error("the new certificate cannot be loaded", file=str(self.certificate), reason=str(error))
            return False
        self.loaded = stamp
        _log.info("certificate renewed", file=str(self.certificate))
        return True

    def _stamp(self) -> tuple[int, ...]:
        return tuple(number for path in (self.certificate, self.key) for number in _stamp_of(path))


class Certificates:
    """All listeners'. `renew_now` hurries `watch`, which looks twice a minute."""

    def __init__(self) -> None:
        self._all: list[ListenerCertificate] = []
        self._hurry = asyncio.Event()

    def add(self, certificate: Path, key: Path, context: ssl.SSLContext) -> None:
        self._all.append(ListenerCertificate(certificate, key, context))

    def renew_now(self) -> None:
        self._hurry.set()

    async def watch(self) -> None:
        """Never ends."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            for one in self._all:
                one.renew()


def _stamp_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
