"""The graph of auth events, loaded in batches as far as an algorithm walks it.
Events that cannot be loaded end the walk, as if they had no auth events.

Spec: rooms/v2 #definitions
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from homeserver.protocol.events import Event, StateKey


class AuthGraph:
    """Loaded events by ID, and the walks over their auth_events."""

    def __init__(self, load_events: Callable[[Collection[str]], Mapping[str, Event]]) -> None:
        self._load_events = load_events
        self._events: dict[str, Event | None] = {}

    def load(self, event_ids: Iterable[str]) -> None:
        """Make sure the events are at hand, with one call for all that are not."""
        missing = {event_id for event_id in event_ids if event_id not in self._events}
        if not missing:
            return
        loaded = self._load_events(missing)
        for event_id in missing:
            self._events[event_id] = loaded.get(event_id)

    def find(self, event_id: str) -> Event | None:
        self.load((event_id,))
        return self._events[event_id]

    def known(self, event_ids: Iterable[str]) -> list[Event]:
        """The events among these that could be loaded."""
        wanted = list(event_ids)
        self.load(wanted)
        return [event for event in map(self._events.__getitem__, wanted) if event is not None]

    def closure_of(self, event_ids: Iterable[str], *, until_found: set[str] | None = None) -> set[str]:
        """The events and their auth chains; ends early once all of `until_found` have been met."""
        seen: set[str] = set()
        level = set(event_ids)
        missing = None if until_found is None else set(until_found)
        while level:
            seen |= level
            if missing is not None:
                missing -= level
                if not missing:
                    break
            level = {auth_id for event in self.known(level) for auth_id in event.auth_event_ids} - seen
        return seen

    def find_auth_event(self, event: Event, key: StateKey) -> Event | None:
        """The auth event of an event that sets this entry of the state."""
        for auth_event in self.known(event.auth_event_ids):
            if auth_event.type == key[0] and auth_event.state_key == key[1]:
                return auth_event
        return None
