"""Profiles: display name, avatar and any other field a user wants to show.

A new name or avatar is passed on to the user's rooms by whoever implements `ProfileFollower`.

Spec: client-server-api #profiles
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from homeserver.protocol.errors import MatrixError, bad_json, forbidden, invalid_param, not_found
from homeserver.protocol.identifiers import server_name_of
from homeserver.services.loading_cache import LoadingCache
from homeserver.storage import accounts as account_rows
from homeserver.storage import profiles as profile_rows
from homeserver.storage.profiles import Profile

if TYPE_CHECKING:
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database, Transaction

__all__ = ["NoRemoteProfiles", "Profile", "ProfileFollower", "Profiles", "RemoteProfiles"]

_KEY = re.compile(r"[a-z][a-z0-9_.-]*", re.ASCII)
_LONGEST_KEY = 255
_LARGEST_PROFILE = 65_536
_LONGEST_NAME = 256
_LONGEST_AVATAR_URL = 1_000


class ProfileFollower(Protocol):
    """Told of a local user's new name or avatar: updates member events and presence, in the background."""

    async def profile_changed(self, user_id: str, profile: Profile) -> None: ...


class RemoteProfiles(Protocol):
    """Asks other servers for the profiles of their users."""

    async def fetch_profile(self, user_id: str, field: str | None = None) -> Mapping[str, Any] | None:
        """The profile (one field of it) as the other server gives it; None if there is none, or no answer."""


class UserMakers(Protocol):
    """Whoever may make users that are asked for: application services."""

    async def make_user(self, user_id: str) -> bool:
        """Whether somebody has just made a local user that did not exist."""


class NoRemoteProfiles:
    """A server without federation."""

    async def fetch_profile(self, user_id: str, field: str | None = None) -> Mapping[str, Any] | None:
        return None


class Profiles:
    """Profiles of local users, cached, and of remote users, fetched.

    `managed_fields` are set by the server's operator (an LDAP plugin, say) and not by users.
    """

    def __init__(
        self,
        server_name: str,
        database: Database,
        followers: Sequence[ProfileFollower],
        remote: RemoteProfiles,
        *,
        managed_fields: Sequence[str] = (),
        makers: UserMakers | None = None,
        cache_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._followers = followers
        self._remote = remote
        self._makers = makers
        self.managed_fields = tuple(managed_fields)
        self._cache: LoadingCache[str, Profile] = LoadingCache("profiles", cache_bytes, _size_of)

    async def get(self, user_id: str) -> Profile:
        """The profile of a local user; an empty one for users who have none."""
        return await self._cache.get(user_id, lambda: self._load(user_id))

    async def fetch(self, user_id: str) -> dict[str, Any]:
        """Anybody's profile as JSON; M_NOT_FOUND if there is no such user, or their server does not say."""
        if server_name_of(user_id) == self._server_name:
            await self._check_exists(user_id)
            return (await self.get(user_id)).as_json()
        profile = await self._remote.fetch_profile(user_id)
        if profile is None:
            raise not_found("The profile was not found.")
        return dict(profile)

    async def fetch_field(self, user_id: str, key: str) -> dict[str, Any]:
        """`{key: value}` of anybody's profile; M_NOT_FOUND if it is not set."""
        if server_name_of(user_id) == self._server_name:
            profile: Mapping[str, Any] = await self.fetch(user_id)
        else:
            profile = await self._remote.fetch_profile(user_id, key) or {}
        if key not in profile:
            raise not_found("The profile has no such field.")
        return {key: profile[key]}

    async def set_field(self, user_id: str, key: str, body: Mapping[str, Any]) -> None:
        """Set one field of a local profile; `body` must hold it under its key.

        M_MISSING_PARAM, M_BAD_JSON, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE, M_FORBIDDEN.
        """
        _check_key(key)
        self._check_not_managed(key)
        if key not in body:
            raise MatrixError("M_MISSING_PARAM", f"`{key}` is missing.", 400)
        await self._change(user_id, key, _checked(key, body[key]))

    async def delete_field(self, user_id: str, key: str) -> None:
        """Remove one field of a local profile, if it is there."""
        _check_key(key)
        self._check_not_managed(key)
        await self._change(user_id, key, _UNSET)

    def forget(self, user_id: str) -> None:
        """The profile was written by somebody else: read it anew."""
        self._cache.drop(user_id)

    def follow(self, changes: Iterable[Change]) -> None:
        """Forget what another process changed."""
        for change in changes:
            if change.subject == "profile":
                for user_id in change.user_ids:
                    self._cache.drop(user_id)

    def forget_all(self) -> None:
        """Nobody knows what changed."""
        self._cache.clear()

    async def _load(self, user_id: str) -> Profile:
        return await self._database.read(profile_rows.find_profile, user_id) or Profile()

    async def _check_exists(self, user_id: str) -> None:
        if (await self.get(user_id)).as_json():
            return
        if await self._database.read(account_rows.find_user, user_id) is not None:
            return
        if self._makers is None or not await self._makers.make_user(user_id):
            raise not_found("The profile was not found.")

    def _check_not_managed(self, key: str) -> None:
        if key in self.managed_fields:
            raise forbidden("This field of the profile is managed by the server.")

    async def _change(self, user_id: str, key: str, value: Any) -> None:
        profile = await self._database.write(_change, user_id, key, value)
        self._cache.drop(user_id)
        if profile is not None and key in ("displayname", "avatar_url"):
            for follower in self._followers:
                await follower.profile_changed(user_id, profile)


class _Unset:
    """No value: null is one."""


_UNSET = _Unset()


def _change(tx: Transaction, user_id: str, key: str, value: Any) -> Profile | None:
    """Store one field; the new profile, or None if nothing changed."""
    old = profile_rows.find_profile(tx.connection, user_id) or Profile()
    if key in ("displayname", "avatar_url"):
        text = None if value is _UNSET or value is None else value
        new = replace(old, displayname=text) if key == "displayname" else replace(old, avatar_url=text)
    else:
        fields = {name: kept for name, kept in old.fields.items() if name != key}
        if value is not _UNSET:
            fields[key] = value
        new = replace(old, fields=fields)
    if new == old:
        return None
    if value is not _UNSET and len(orjson.dumps(new.as_json())) >= _LARGEST_PROFILE:
        raise MatrixError("M_PROFILE_TOO_LARGE", "A profile must be smaller than 64 KiB.", 400)
    profile_rows.store_profile(tx, user_id, new)
    return new


def _check_key(key: str) -> None:
    if len(key.encode("utf-8", "surrogatepass")) > _LONGEST_KEY:
        raise MatrixError("M_KEY_TOO_LARGE", f"A profile's key may have at most {_LONGEST_KEY} bytes.", 400)
    if _KEY.fullmatch(key) is None:
        raise invalid_param("This cannot be the key of a profile's field.")


def _checked(key: str, value: Any) -> Any:
    if key not in ("displayname", "avatar_url"):
        return value
    if value is None or value == "":
        # Clients from before fields could be deleted clear them like this.
        return None
    if not isinstance(value, str):
        raise bad_json(f"`{key}` must be a string.")
    longest = _LONGEST_NAME if key == "displayname" else _LONGEST_AVATAR_URL
    if len(value) > longest:
        raise invalid_param(f"`{key}` may have at most {longest} characters.")
    if key == "avatar_url" and not value.startswith("mxc://"):
        raise invalid_param("`avatar_url` must be an mxc: URI.")
    return value


def _size_of(profile: Profile) -> int:
    return 200 + (len(orjson.dumps(profile.as_json())) if profile.fields else 0)
