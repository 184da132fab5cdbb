"""`POST /search`.

Spec: client-server-api #server-side-search
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homeserver.client_api.paths import v3
from homeserver.protocol.sync_filters import EventFilter
from homeserver.services.search.search import SEARCHABLE_KEYS, Criteria, EventContext, Search
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

_MOST_AROUND = 20


class _Context(msgspec.Struct):
    before_limit: int = 5
    after_limit: int = 5
    include_profile: bool = False


class _Group(msgspec.Struct):
    key: Literal["room_id", "sender"]


class _Groupings(msgspec.Struct):
    group_by: list[_Group] = []


class _RoomEvents(msgspec.Struct):
    search_term: str
    keys: list[Literal["content.body", "content.name", "content.topic"]] | None = None
    filter: dict[str, Any] = {}
    order_by: Literal["recent", "rank"] = "rank"
    event_context: _Context | None = None
    include_state: bool = False
    groupings: _Groupings = msgspec.field(default_factory=_Groupings)


class _Categories(msgspec.Struct):
    room_events: _RoomEvents | None = None


class SearchBody(msgspec.Struct):
    """What is asked for in each category."""

    search_categories: _Categories


class SearchApi:
    """Search in rooms."""

    def __init__(self, search: Search) -> None:
        self._search = search

    @endpoint("POST", v3("/search"), operation="search", body=SearchBody, limit="search")
    async def search(self, request: Request, requester: Requester, body: SearchBody) -> Any:
        wanted = body.search_categories.room_events
        if wanted is None:
            return {"search_categories": {}}
        found = await self._search.room_events(
            requester.user_id, requester.device_id, _criteria(wanted), request.find_query("next_batch")
        )
        return {"search_categories": {"room_events": found}}


def _criteria(wanted: _RoomEvents) -> Criteria:
    around = wanted.event_context
    context = None
    if around is not None:
        before = max(0, min(around.before_limit, _MOST_AROUND))
        after = max(0, min(around.after_limit, _MOST_AROUND))
        context = EventContext(before, after, around.include_profile)
    return Criteria(
        wanted.search_term,
        wanted.keys if wanted.keys is not None else SEARCHABLE_KEYS,
        EventFilter.parse(wanted.filter, "filter"),
        wanted.order_by == "rank",
        context,
        wanted.include_state,
        [group.key for group in wanted.groupings.group_by],
    )
