"""Joining rooms through the servers that are in them.

Spec: server-server-api #joining-rooms
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog

from homeserver.protocol.errors import forbidden
from homeserver.protocol.event_builder import auth_state_keys
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.receipt import Standing, judge_by_state_before, required_signatures
from homeserver.runtime.clock import Clock
from homeserver.services.rooms.room import Rooms
from homeserver.storage.database import Database
from homeserver.storage.remote_rooms import Adoption, adopt_room
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError
from homeserver_federation.inbound.check_auth_events import judge, needed_by
from homeserver_federation.inbound.check_format import NotToBeHad, PduDropped, parse_pdu
from homeserver_federation.inbound.receive_pdu import ReceivePdu
from homeserver_federation.ports import ServerClient, SignatureChecks
from homeserver_federation.room_locks import RoomLocks
from homeserver_federation.rooms.handshake import Handshake, Template, Unusable, best_answer, is_unknown_endpoint
from homeserver_federation.rooms.joined_servers import is_resident
from homeserver_federation.rooms.outliers import Outliers, list_in
from homeserver_federation.rooms.routes import Routes

_CREATE: StateKey = ("m.room.create", "")
_PAUSES_FOR_KEYS_S = (2, 5, 10)
_ATTEMPTS = 3
_log = structlog.get_logger("homeserver.federation.join")


class JoinRoom:
    """Joins local users to rooms that this server is not in. `timeout_ms` bounds the wait for a large room's state."""

    def __init__(
        self,
        database: Database,
        rooms: Rooms,
        locks: RoomLocks,
        routes: Routes,
        handshake: Handshake,
        client: ServerClient,
        checks: SignatureChecks,
        outliers: Outliers,
        receive: ReceivePdu,
        clock: Clock,
        server_name: str,
        timeout_ms: int,
    ) -> None:
        self._database = database
        self._rooms = rooms
        self._locks = locks
        self._routes = routes
        self._handshake = handshake
        self._client = client
        self._checks = checks
        self._outliers = outliers
        self._receive = receive
        self._clock = clock
        self._server_name = server_name
        self._timeout_ms = timeout_ms

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Join through the first server that can do it. Raises MatrixError when none can.

        What comes for the room from other servers meanwhile waits: they send as soon as the join is in the room.
        """
        servers = self._handshake.candidates([*via, *await self._routes.to(room_id, user_id)])
        failures: list[FederationError | Unusable] = []
        async with self._locks.hold(room_id):
            for server in servers:
                try:
                    await self._join_through(server, user_id, room_id, content)
                except (FederationError, Unusable) as error:
                    _log.info("join failed", room_id=room_id, server=server, reason=str(error))
                    failures.append(error)
                else:
                    return
        raise best_answer(failures)

    async def _join_through(self, server: str, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        template = await self._handshake.make(server, "join", room_id, user_id)
        content = {key: value for key, value in content.items() if key != "join_authorised_via_users_server"}
        if template.authoriser is not None:
            content["join_authorised_via_users_server"] = template.authoriser
        event = self._handshake.complete(template, content)
        answer = await self._send_join(server, event)
        joined = await self._signed_by_all(event, answer)
        room = await self._rooms.find(room_id)
        if room is not None and is_resident(room):
            # Another user of ours was faster: the room is here, and this is one more event in it.
            await self._receive_own(server, joined)
            return
        await self._adopt(template, joined, answer)

    async def _send_join(self, server: str, event: Event) -> Any:
        segments = ("send_join", event.room_id, event.event_id)
        query = {"omit_members": "false"}
        try:
            return await self._client.put(
                server,
                federation_path("v2", *segments),
                event.pdu,
                query,
                timeout_ms=self._timeout_ms,
                attempts=_ATTEMPTS,
            )
        except FederationError as error:
            if not is_unknown_endpoint(error):
                raise
        answer = await self._client.put(
            server, federation_path("v1", *segments), event.pdu, timeout_ms=self._timeout_ms
        )
        return answer[1] if isinstance(answer, list) and len(answer) == 2 else None

    async def _signed_by_all(self, event: Event, answer: object) -> Event:
        """The join event as the resident server returned it, with the signature that a restricted join needs."""
        returned = answer.get("event") if isinstance(answer, dict) else None
        if returned is not None:
            try:
                parsed = parse_pdu(returned, event.room_version, event.room_id)
            except PduDropped as dropped:
                raise Unusable(f"The join came back malformed: {dropped}") from None
            if parsed.event_id != event.event_id:
                raise Unusable("Another event came back than the join that was sent.")
            signatures = {**parsed.pdu["signatures"], **event.pdu["signatures"]}
            event = Event({**event.pdu, "signatures": signatures}, event.room_version, event.event_id)
        if await self._checks.signature_failures([event]):
            raise Unusable("The join came back without the signature of the server that authorised it.")
        return event

    async def _receive_own(self, server: str, joined: Event) -> None:
        received = await self._receive.receive_held(server, joined)
        if received.stored is None:
            raise Unusable(received.dropped or "The join could not be placed.")
        if received.stored.standing is not Standing.ACCEPTED:
            raise forbidden(received.stored.reason or "You are not allowed to join this room.")

    async def _adopt(self, template: Template, joined: Event, answer: object) -> None:
        version, room_id = template.version, joined.room_id
        told = await self._outliers.parse(version, room_id, list_in(answer, "state"))
        chain = await self._outliers.parse(version, room_id, list_in(answer, "auth_chain"))
        usable = await self._usable(chain | told)
        state: dict[StateKey, Event] = {}
        for event_id in told.keys() & usable.keys():
            event = usable[event_id]
            if event.state_key is None or event.key in state:
                raise Unusable(f"{template.server} told an impossible state of the room.")
            state[event.key] = event
        _check(joined, state, usable)
        adoption = Adoption(
            room_id,
            version,
            state,
            [event for event_id, event in usable.items() if event_id not in told],
            joined,
            self._clock.now_ms(),
            self._server_name,
        )
        await self._database.write(adopt_room, adoption)
        # The join was known before if the user had knocked through it; the room may have been, without its state.
        self._rooms.drop(room_id)

    async def _usable(self, parsed: Mapping[str, Event]) -> dict[str, Event]:
        """Those of the events that may be used. All others must be known for bad: a member that is left out because
        some server did not answer would be missing from the room for ever.
        """
        for pause_s in _PAUSES_FOR_KEYS_S:
            with suppress(NotToBeHad):
                return await self._outliers.check_parsed(parsed, all_of_them=True)
            await self._clock.sleep(pause_s)
        try:
            return await self._outliers.check_parsed(parsed, all_of_them=True)
        except NotToBeHad as error:
            raise Unusable(str(error)) from None


def _check(joined: Event, state: Mapping[StateKey, Event], usable: Mapping[str, Event]) -> None:
    """Whether the state is that of the room, and lets the user in."""
    create = state.get(_CREATE)
    if create is None:
        raise Unusable("The state of the room came without its create event.")
    if create.content.get("room_version", "1") != joined.room_version.identifier:
        raise Unusable("The room is of another version than the server said.")
    if not needed_by(joined) <= usable.keys():
        raise Unusable("The auth events of the join did not come with the state.")
    by_auth_events = judge(joined, usable)
    keys = [*auth_state_keys(joined, joined.room_version), _CREATE]
    held = {key: state[key] for key in keys if key in state}
    by_state = judge_by_state_before(
        joined, held, create, signed_by_authoriser=required_signatures(joined).__contains__
    )
    for verdict in (by_auth_events, by_state):
        if verdict.standing is not Standing.ACCEPTED:
            raise Unusable(f"The join is not allowed by the state that came with it: {verdict.reason}")
