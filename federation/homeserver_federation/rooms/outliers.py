"""Events that are known without a place in the graph: auth chains, states of other branches, single events.

They come in batches and go through the receipt checks 1 to 4; those that fail are not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import structlog

from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing
from homeserver.protocol.room_versions import RoomVersion
from homeserver.services.rooms.event_store import EventStore
from homeserver.storage.database import Database
from homeserver.storage.remote_rooms import store_outliers
from homeserver_federation.client import federation_path
from homeserver_federation.errors import FederationError, RemoteServerError
from homeserver_federation.inbound.check_auth_events import judge, needed_by
from homeserver_federation.inbound.check_format import NotToBeHad, PduDropped, parse_pdu, parse_pdus
from homeserver_federation.inbound.check_hashes import with_altered_redacted
from homeserver_federation.inbound.check_signatures import without_badly_signed
from homeserver_federation.ports import ServerClient, SignatureChecks
from homeserver_federation.rooms.graph_order import in_auth_order

_TIMEOUT_MS = 30_000
_MOST_IN_AUTH_CHAIN = 10_000
_MOST_AT_ONCE = 5
_IN_A_THREAD_FROM = 100
_log = structlog.get_logger("homeserver.federation.outliers")


class Outliers:
    """Checks, fetches and stores outliers."""

    def __init__(self, database: Database, events: EventStore, client: ServerClient, checks: SignatureChecks) -> None:
        self._database = database
        self._events = events
        self._client = client
        self._checks = checks

    async def check(
        self, version: RoomVersion, room_id: str, pdus: Sequence[object], *, all_of_them: bool = False
    ) -> dict[str, Event]:
        """Those of the PDUs that may be used, by ID: new ones that pass steps 1 to 4, known ones unless rejected.

        `all_of_them`: raises NotToBeHad when one may pass later only, because a key could not be asked for just now.
        """
        return await self.check_parsed(await self.parse(version, room_id, pdus), all_of_them=all_of_them)

    async def parse(self, version: RoomVersion, room_id: str, pdus: Sequence[object]) -> dict[str, Event]:
        """Step 1 alone."""
        if len(pdus) >= _IN_A_THREAD_FROM:
            return await asyncio.to_thread(parse_pdus, pdus, version, room_id)
        return parse_pdus(pdus, version, room_id)

    async def check_parsed(self, parsed: Mapping[str, Event], *, all_of_them: bool = False) -> dict[str, Event]:
        """The same, for events that have passed step 1."""
        known = await self._events.get_many(parsed)
        new = {event_id: event for event_id, event in parsed.items() if event_id not in known}
        usable = {
            event_id: stored.event for event_id, stored in known.items() if stored.standing is not Standing.REJECTED
        }
        return usable | await self._judge_new(new, all_of_them)

    async def _judge_new(self, new: Mapping[str, Event], all_of_them: bool) -> dict[str, Event]:
        signed, failures = await without_badly_signed(self._checks, new)
        if failures:
            _log.info("events dropped for their signatures", failures=failures)
        late = [failure.reason for failure in failures.values() if failure.may_pass_later]
        if late and all_of_them:
            raise NotToBeHad(f"{len(late)} events cannot be checked just now. {late[0]}.")
        new = with_altered_redacted(signed)
        needed = set().union(*map(needed_by, new.values())) - new.keys()
        usable = {
            event_id: stored.event
            for event_id, stored in (await self._events.get_many(needed)).items()
            if stored.standing is not Standing.REJECTED
        }
        accepted: dict[str, Event] = {}
        for event in in_auth_order(new):
            if needed_by(event) <= usable.keys() and judge(event, usable).standing is Standing.ACCEPTED:
                usable[event.event_id] = accepted[event.event_id] = event
        return accepted

    async def store(self, room_id: str, some: Iterable[Event]) -> None:
        """Keep events that have been checked. The room must be known."""
        wanted = list(some)
        if wanted:
            await self._database.write(store_outliers, room_id, wanted)

    async def fetch_auth_chain(self, origin: str, event: Event) -> None:
        """Ask a server for the auth chain of an event, and keep what is new. Errors of the network are passed over."""
        path = federation_path("v1", "event_auth", event.room_id, event.event_id)
        try:
            answer = await self._client.get(origin, path, timeout_ms=_TIMEOUT_MS)
        except FederationError as error:
            _log.info("auth chain not fetched", event_id=event.event_id, reason=str(error))
            return
        chain = list_in(answer, "auth_chain")[:_MOST_IN_AUTH_CHAIN]
        checked = await self.check(event.room_version, event.room_id, chain)
        await self.store(event.room_id, checked.values())

    async def fetch(
        self,
        servers: Sequence[str],
        version: RoomVersion,
        room_id: str,
        event_ids: Collection[str],
        *,
        all_of_them: bool = False,
    ) -> dict[str, Event]:
        """Ask servers for single events, and keep those that pass.

        `all_of_them`: raises NotToBeHad when a server did not answer, or a key could not be asked for.
        """
        slots = asyncio.Semaphore(_MOST_AT_ONCE)

        async def fetch_one(event_id: str) -> object:
            async with slots:
                return await self._fetch_pdu(servers, version, room_id, event_id, all_of_them)

        pdus = await asyncio.gather(*(fetch_one(event_id) for event_id in event_ids))
        checked = await self.check(version, room_id, [pdu for pdu in pdus if pdu is not None], all_of_them=all_of_them)
        await self.store(room_id, checked.values())
        return checked

    async def _fetch_pdu(
        self, servers: Sequence[str], version: RoomVersion, room_id: str, event_id: str, must_be_had: bool
    ) -> object:
        silent = None
        for server in servers:
            try:
                path = federation_path("v1", "event", event_id)
                answer = await self._client.get(server, path, timeout_ms=_TIMEOUT_MS)
            except FederationError as error:
                if not isinstance(error, RemoteServerError):
                    silent = server
                continue
            for pdu in list_in(answer, "pdus")[:1]:
                try:
                    if parse_pdu(pdu, version, room_id).event_id == event_id:
                        return pdu
                except PduDropped:
                    continue
        if must_be_had and silent is not None:
            raise NotToBeHad(f"{silent} does not hand out the event {event_id} just now.")
        return None


def list_in(answer: object, name: str) -> list[Any]:
    """The list of this name in another server's answer; empty where there is none."""
    value = answer.get(name) if isinstance(answer, dict) else None
    return value if isinstance(value, list) else []
