"""The plugin `call_log`: it follows the log, and lets users see and delete what it noted of their calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from homeserver.plugin_api import (
    Auth,
    Duration,
    Event,
    JsonValue,
    PluginContext,
    Request,
    Requester,
    Section,
    endpoint,
    hookimpl,
    not_found,
)
from homeserver_plugins.call_log.log import CallLog
from homeserver_plugins.call_log.recorder import CALL_TYPES, CallRecorder

_CALLS = "/_starling/client/v1/calls"
_PAGE, _LARGEST_PAGE = 50, 100


class CallLogSettings(Section):
    """The call log."""

    retention: Duration = Field(default=Duration.parse("90d"), description="How long calls are remembered.")
    most_calls: int = Field(default=200, ge=1, le=1_000, description="How many calls of each user are remembered.")
    most_rung: int = Field(
        default=50,
        ge=1,
        description="In rooms with more local members than this, only who takes part finds a call in their log.",
    )


class Plugin:
    """`call_log`."""

    Settings = CallLogSettings

    def __init__(self, context: PluginContext, settings: CallLogSettings) -> None:
        self._clock = context.clock
        self._retention_ms = int(settings.retention)
        self._log = CallLog(context.store, self._retention_ms, settings.most_calls)
        self._recorder = CallRecorder(context, self._log, settings.most_rung)

    @hookimpl
    async def on_event(self, event: Event) -> None:
        if event.type in CALL_TYPES and event.origin_server_ts > self._clock.now_ms() - self._retention_ms:
            await self._recorder.record(event)

    @hookimpl
    async def on_account_deactivated(self, user_id: str) -> None:
        await self._log.forget_user(user_id)

    @hookimpl
    def register_routes(self) -> Sequence[object]:
        return [self]

    @endpoint("GET", _CALLS, auth=Auth.USER, limit="search")
    async def get_calls(self, request: Request, requester: Requester) -> JsonValue:
        """A page of the caller's calls, newest first; `next_batch` goes on where it ends, as `from`."""
        limit = request.query_int("limit", _PAGE, minimum=1, maximum=_LARGEST_PAGE)
        ids = await self._log.ids_of(requester.user_id)
        after = request.find_query("from")
        begin = ids.index(after) + 1 if after in ids else 0
        now_ms = self._clock.now_ms()
        entries: list[Any] = []
        for call_id in ids[begin : begin + limit]:
            call = await self._log.find(call_id)
            if call is not None:
                entries.append(call.entry_for(requester.user_id, now_ms))
        answer: dict[str, Any] = {"calls": entries}
        if begin + limit < len(ids):
            answer["next_batch"] = ids[begin + limit - 1]
        return answer

    @endpoint("DELETE", _CALLS + "/{callId}", auth=Auth.USER, limit="account")
    async def delete_call(self, request: Request, requester: Requester) -> JsonValue:
        call_id = request.path["callId"]
        if call_id not in await self._log.ids_of(requester.user_id):
            raise not_found("There is no such call in your log.")
        await self._log.hide(requester.user_id, [call_id], self._clock.now_ms())
        return {}

    @endpoint("DELETE", _CALLS, auth=Auth.USER, limit="account")
    async def delete_calls(self, request: Request, requester: Requester) -> JsonValue:
        ids = await self._log.ids_of(requester.user_id)
        await self._log.hide(requester.user_id, ids, self._clock.now_ms())
        return {}
