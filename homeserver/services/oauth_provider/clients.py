"""The clients of the OAuth 2.0 API: they register themselves, and are known by their metadata.

Spec: client-server-api #client-registration
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import structlog

from homeserver.services.oauth_provider.client_metadata import check_client_metadata
from homeserver.services.oauth_provider.errors import InvalidClientError, UnauthorizedClientError
from homeserver.storage import oauth_clients

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.storage.database import Database

_TOUCH_EVERY_MS = 3_600_000
_log = structlog.get_logger("homeserver.oauth_provider")


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client."""

    client_id: str
    metadata: Mapping[str, Any]

    @property
    def host(self) -> str:
        """The host everything of this client belongs to: the one thing about it that is not merely its own word."""
        return str(urlsplit(self.metadata["client_uri"]).hostname)

    @property
    def redirect_uris(self) -> list[str]:
        return list(self.metadata.get("redirect_uris", ()))

    def check_may_use(self, grant_type: str) -> None:
        """UnauthorizedClientError unless it registered for this grant."""
        if grant_type not in self.metadata["grant_types"]:
            raise UnauthorizedClientError("The client did not register for this grant type.")

    def text(self, name: str, languages: list[str]) -> str | None:
        """`client_name`, `tos_uri` or `policy_uri` in the first of these languages there is, or by default."""
        by_language = {key.lower(): value for key, value in self.metadata.items() if key.partition("#")[0] == name}
        for language in languages:
            for tag in (language.lower(), language.lower().partition("-")[0]):
                if f"{name}#{tag}" in by_language:
                    return str(by_language[f"{name}#{tag}"])
        found = by_language.get(name)
        return None if found is None else str(found)

    def name(self, languages: list[str]) -> str:
        """What to call it."""
        return self.text("client_name", languages) or self.host


class OAuthClients:
    """Registers clients and finds them."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def register(self, body: Mapping[str, Any], address: str) -> dict[str, Any]:
        """The registered metadata with the `client_id`; InvalidClientMetadataError, InvalidRedirectURIError."""
        metadata = check_client_metadata(body)
        raw = orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS)
        client_id, created_ms = await self._database.write(
            oauth_clients.register,
            "stc_" + self._randomness.token(16),
            hashlib.sha256(raw).digest(),
            raw,
            self._clock.now_ms(),
        )
        _log.info("oauth client registered", client_id=client_id, client_uri=metadata["client_uri"], address=address)
        return {"client_id": client_id, "client_id_issued_at": created_ms // 1000, **metadata}

    async def get(self, client_id: str | None) -> Client:
        """InvalidClientError without such a client."""
        row = None if not client_id else await self._database.read(oauth_clients.find_client, client_id)
        if row is None:
            raise InvalidClientError("The client is not known; it may have to register again.", status_code=401)
        now_ms = self._clock.now_ms()
        if now_ms - row.used_ms > _TOUCH_EVERY_MS:
            await self._database.write(oauth_clients.touch, row.client_id, now_ms)
        return Client(row.client_id, row.metadata)

    async def find(self, client_id: str) -> Client | None:
        row = await self._database.read(oauth_clients.find_client, client_id)
        return None if row is None else Client(row.client_id, row.metadata)
