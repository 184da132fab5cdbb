"""Searches people by name.

Spec: client-server-api #user-directory
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.identifiers import server_name_of
from homeserver.services.profiles import Profiles
from homeserver.storage.database import Database
from homeserver.storage.user_directory import find_users
from homeserver_config.sections.user_directory import UserDirectorySettings

_MOST = 50


class UserDirectory:
    """The use case behind `POST /user_directory/search`."""

    def __init__(
        self, settings: UserDirectorySettings, database: Database, profiles: Profiles, server_name: str
    ) -> None:
        self._settings = settings
        self._database = database
        self._profiles = profiles
        self._server_name = server_name

    async def search(self, user_id: str, term: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """People the user may see whose id or name holds `term`; True when there are more than `limit`."""
        if not self._settings.enabled or not term.strip():
            return [], False
        most = max(1, min(limit, _MOST))
        everyone = self._settings.scope == "everyone"
        found = await self._database.read(find_users, user_id, term.strip(), most + 1, all_accounts=everyone)
        shown = []
        for user in found[:most]:
            name, avatar_url = user.display_name, user.avatar_url
            if server_name_of(user.user_id) == self._server_name:
                # What a room calls somebody may be a name for that room only.
                profile = await self._profiles.get(user.user_id)
                name, avatar_url = profile.displayname, profile.avatar_url
            entry = {"user_id": user.user_id, "display_name": name, "avatar_url": avatar_url}
            shown.append({key: value for key, value in entry.items() if value is not None})
        return shown, len(found) > most
