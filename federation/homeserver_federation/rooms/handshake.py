"""What joining, knocking and leaving through another server have in common: a template, checked, filled in and signed.

Spec: server-server-api #joining-rooms
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.protocol.canonical_json import CanonicalJsonError
from homeserver.protocol.errors import MatrixError, incompatible_room_version, not_found
from homeserver.protocol.event_format import check_event_format
from homeserver.protocol.event_hashes import hash_and_sign
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import is_server_name
from homeserver.protocol.room_versions import ROOM_VERSIONS, EventIdFormat, RoomVersion, find_room_version
from homeserver.protocol.signing import SigningKey
from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError
from homeserver_federation.ports import ServerClient

_MAKE_TIMEOUT_MS = 30_000
_MOST_CANDIDATES = 10
_COPIED = ("auth_events", "depth", "prev_events", "room_id", "sender", "state_key", "type")


class Unusable(Exception):
    """What another server answered is not what was asked for; another one may do better."""


@dataclass(frozen=True, slots=True)
class Template:
    """An event as another server proposes it; only `content` is still to be chosen."""

    server: str
    version: RoomVersion
    pdu: Mapping[str, Any]

    @property
    def authoriser(self) -> str | None:
        """The user who lets a member of certain other rooms in, where the server names one."""
        authoriser = self.pdu["content"].get("join_authorised_via_users_server")
        return authoriser if isinstance(authoriser, str) and self.version.auth.restricted_joins else None


class Handshake:
    """Asks for templates, and makes events of them."""

    def __init__(
        self,
        client: ServerClient,
        clock: Clock,
        randomness: Randomness,
        server_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._signing_key = signing_key

    def candidates(self, servers: Iterable[str]) -> list[str]:
        """The servers worth asking, in order, each once."""
        named = dict.fromkeys(name for name in servers if is_server_name(name) and name != self._server_name)
        return list(named)[:_MOST_CANDIDATES]

    async def make(self, server: str, membership: str, room_id: str, user_id: str) -> Template:
        """A server's template. Raises FederationError, Unusable, and MatrixError for a version nobody here knows."""
        path = federation_path("v1", f"make_{membership}", room_id, user_id)
        query = None if membership == "leave" else {"ver": list(ROOM_VERSIONS)}
        try:
            answer = await self._client.get(server, path, query, timeout_ms=_MAKE_TIMEOUT_MS)
        except RemoteServerError as error:
            if error.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
                raise incompatible_room_version(str(error.body.get("room_version", "?"))) from error
            raise
        pdu = answer.get("event") if isinstance(answer, dict) else None
        if not isinstance(pdu, dict) or not isinstance(pdu.get("content"), dict):
            raise Unusable(f"{server} answered without an event.")
        identifier = answer.get("room_version", "1")
        version = find_room_version(identifier)
        if version is None:
            raise incompatible_room_version(str(identifier))
        expected = {"room_id": room_id, "sender": user_id, "state_key": user_id, "type": "m.room.member"}
        if any(pdu.get(key) != value for key, value in expected.items()):
            raise Unusable(f"{server} proposed another event than it was asked for.")
        if pdu["content"].get("membership") != membership:
            raise Unusable(f"{server} proposed another membership than it was asked for.")
        return Template(server, version, pdu)

    def complete(self, template: Template, content: Mapping[str, Any]) -> Event:
        """The event with our content, signed by us. Raises Unusable when the template made no valid event."""
        version = template.version
        pdu = {key: template.pdu[key] for key in _COPIED if key in template.pdu}
        pdu["content"] = dict(content)
        pdu["origin_server_ts"] = self._clock.now_ms()
        if version.event_format.event_id is EventIdFormat.SERVER_MADE:
            pdu["event_id"] = f"${self._randomness.event_localpart()}:{self._server_name}"
        try:
            signed, event_id = hash_and_sign(pdu, version, self._server_name, self._signing_key)
        except (CanonicalJsonError, TypeError, ValueError) as error:
            raise Unusable(f"{template.server} proposed an event that cannot be signed: {error}.") from None
        refusal = check_event_format(signed, version)
        if refusal is not None:
            raise Unusable(f"{template.server} proposed a malformed event: {refusal.reason}")
        return Event(signed, version, event_id)


def is_unknown_endpoint(error: FederationError) -> bool:
    """Whether the older version of an endpoint is worth a try."""
    return isinstance(error, RemoteServerError) and error.is_unknown_endpoint


def best_answer(errors: Iterable[FederationError | Unusable]) -> MatrixError:
    """What a client is told when every server failed: the most telling refusal."""
    given = list(errors)
    if not given:
        return not_found("No server is known through which this room could be reached.")
    refusals = [error for error in given if isinstance(error, RemoteServerError) and 400 <= error.status < 500]
    refusals.sort(key=lambda error: error.status == 404)
    if refusals:
        return _as_told_to_clients(refusals[0])
    last = given[-1]
    return last.as_matrix_error() if isinstance(last, FederationError) else MatrixError("M_UNKNOWN", str(last), 502)


def _as_told_to_clients(error: RemoteServerError) -> MatrixError:
    if error.errcode in {"M_MISSING_PARAM", "M_INVALID_PARAM"}:
        # The mistake is between the servers, the client did nothing wrong.
        return MatrixError("M_UNKNOWN", f"The server {error.destination} refused: {error.sentence}", 502)
    return error.as_matrix_error()
