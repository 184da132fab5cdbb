"""`POST /user_directory/search`.

Spec: client-server-api #user-directory
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.paths import v3
from homeserver.services.user_directory import UserDirectory
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester


class SearchBody(msgspec.Struct):
    """Whom to search, and how many at most."""

    search_term: str
    limit: int = 10


class UsersApi:
    def __init__(self, directory: UserDirectory) -> None:
        self._directory = directory

    @endpoint(
        "POST",
        v3("/user_directory/search"),
        operation="searchUserDirectory",
        limit="directory",
        body=SearchBody,
    )
    async def search(self, request: Request, requester: Requester, body: SearchBody) -> dict[str, Any]:
        results, limited = await self._directory.search(requester.user_id, body.search_term, body.limit)
        return {"results": results, "limited": limited}
