"""One application service: who it is, and which users, aliases and rooms are its business.

Expressions count from the start of an identifier and need not reach its end, as bridges in the field expect.

Spec: application-service-api #registration
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeserver.protocol.identifiers import server_name_of
from homeserver.runtime.bounded_cache import BoundedCache

if TYPE_CHECKING:
    from homeserver_config.application_service import Namespace, Registration

_REMEMBERED_USERS = 20_000


class Appservice:
    """A registration made ready for use. `source` is the file it came from; None for one made at run time."""

    def __init__(self, registration: Registration, server_name: str, source: str | None = None) -> None:
        self.registration = registration
        self.source = source
        self.id = registration.id
        self.url = registration.url
        self.sender = f"@{registration.sender_localpart}:{server_name}"
        self.is_rate_limited = registration.rate_limited
        self.protocols = tuple(registration.protocols)
        unstable = registration.push_ephemeral or registration.msc2409_push_ephemeral
        is_told = registration.url is not None
        self.wants_ephemeral = is_told and (registration.receive_ephemeral or unstable)
        self.wants_stable_names = registration.receive_ephemeral
        self.wants_unstable_names = unstable
        self.wants_encryption_news = is_told and registration.msc3202
        self._server_name = server_name
        namespaces = registration.namespaces
        self._users = _Expressions(namespaces.users)
        self._aliases = _Expressions(namespaces.aliases)
        self._rooms = _Expressions(namespaces.rooms)
        self._owned: BoundedCache[str, bool] = BoundedCache("appservice_users", _REMEMBERED_USERS)

    @property
    def as_token(self) -> str:
        return self.registration.as_token.reveal()

    @property
    def hs_token(self) -> str:
        return self.registration.hs_token.reveal()

    @property
    def has_aliases(self) -> bool:
        """Whether aliases matter to it at all."""
        return bool(self._aliases)

    def owns(self, user_id: str) -> bool:
        """Whether it may act for a user: its own sender, and local users in its namespaces."""
        known = self._owned.find(user_id)
        if known is None:
            known = user_id == self.sender or (self._is_local(user_id) and self._users.match(user_id))
            self._owned.put(user_id, known)
        return known

    def owns_alone(self, user_id: str) -> bool:
        """Whether nobody else may be this user."""
        return user_id == self.sender or (self._is_local(user_id) and self._users.match_exclusively(user_id))

    def has_alias(self, alias: str) -> bool:
        return self._aliases.match(alias)

    def has_alias_alone(self, alias: str) -> bool:
        """Whether nobody else may make or delete this alias."""
        return self._aliases.match_exclusively(alias)

    def has_room(self, room_id: str) -> bool:
        return self._rooms.match(room_id)

    def _is_local(self, user_id: str) -> bool:
        return server_name_of(user_id) == self._server_name


class _Expressions:
    def __init__(self, namespaces: Sequence[Namespace]) -> None:
        self._all = [re.compile(namespace.regex) for namespace in namespaces]
        self._exclusive = [re.compile(namespace.regex) for namespace in namespaces if namespace.exclusive]

    def __bool__(self) -> bool:
        return bool(self._all)

    def match(self, text: str) -> bool:
        return any(expression.match(text) for expression in self._all)

    def match_exclusively(self, text: str) -> bool:
        return any(expression.match(text) for expression in self._exclusive)
