"""Step 4: an event is allowed by its own auth events, or it is rejected. Missing ones are fetched first.

Spec: server-server-api #authorisation-rules, #retrieving-event-authorisation-information
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from homeserver.protocol.event_hashes import create_event_id_of_room_id
from homeserver.protocol.events import Event
from homeserver.protocol.receipt import Standing, Verdict, judge_by_auth_events, required_signatures
from homeserver.services.rooms.event_store import EventStore
from homeserver_federation.inbound.check_format import NotToBeHad


class CheckAuthEvents:
    """Judges by auth events. `fetch_auth_chain(origin, event)` stores what a server has to tell of missing ones."""

    def __init__(self, events: EventStore, fetch_auth_chain: Callable[[str, Event], Awaitable[None]]) -> None:
        self._events = events
        self._fetch_auth_chain = fetch_auth_chain

    async def check(self, origin: str, event: Event) -> Verdict:
        """The verdict. Raises NotToBeHad when auth events cannot be found."""
        needed = needed_by(event)
        known = await self._events.get_many(needed)
        if len(known) < len(needed):
            await self._fetch_auth_chain(origin, event)
            known = await self._events.get_many(needed)
        if len(known) < len(needed):
            raise NotToBeHad(f"{len(needed) - len(known)} of the event's auth events cannot be found.")
        return judge(
            event,
            {event_id: stored.event for event_id, stored in known.items()},
            lambda event_id: known[event_id].standing is Standing.REJECTED,
        )


def needed_by(event: Event) -> set[str]:
    """The IDs of what is needed to judge an event by its auth events: the create event too, if the room ID is it."""
    needed = set(event.auth_event_ids)
    if event.room_version.event_format.room_id_is_create_hash and event.type != "m.room.create":
        needed.add(create_event_id_of_room_id(event.room_id))
    return needed


def judge(
    event: Event, auth_events: Mapping[str, Event], is_rejected: Callable[[str], bool] = lambda _: False
) -> Verdict:
    """The verdict by auth events that are all at hand."""
    create = None
    if event.room_version.event_format.room_id_is_create_hash:
        create = auth_events.get(create_event_id_of_room_id(event.room_id))
    return judge_by_auth_events(
        event,
        [auth_events[event_id] for event_id in event.auth_event_ids],
        create,
        is_rejected=is_rejected,
        signed_by_authoriser=required_signatures(event).__contains__,
    )
