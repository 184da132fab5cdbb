"""Reporting events, rooms and users.

Spec: client-server-api #reporting-content
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.services.reports import Reports
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class EventReport(msgspec.Struct):
    """Why an event is reported; the score of older clients is not kept."""

    reason: str | None = None


class OtherReport(msgspec.Struct):
    """Why a room or a user is reported."""

    reason: str


class ReportContentApi:
    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    @endpoint(
        "POST",
        v3("/rooms/{roomId}/report/{eventId}"),
        operation="reportEvent",
        limit="report",
        body=EventReport,
        optional_body=True,
    )
    async def report_event(self, request: Request, requester: Requester, body: EventReport) -> dict[str, Any]:
        path = request.path
        await self._reports.report_event(requester.user_id, path["roomId"], path["eventId"], body.reason)
        return {}

    @endpoint("POST", v3("/rooms/{roomId}/report"), operation="reportRoom", limit="report", body=OtherReport)
    async def report_room(self, request: Request, requester: Requester, body: OtherReport) -> dict[str, Any]:
        await self._reports.report_room(requester.user_id, request.path["roomId"], body.reason)
        return {}

    @endpoint("POST", v3("/users/{userId}/report"), operation="reportUser", limit="report", body=OtherReport)
    async def report_user(self, request: Request, requester: Requester, body: OtherReport) -> dict[str, Any]:
        await self._reports.report_user(requester.user_id, request.path["userId"], body.reason)
        return {}
