"""Fetches server keys: from their owners side by side, or from a notary many at once.

A server that was just asked is not asked again for a while, whatever it answered.

Spec: server-server-api #querying-keys-through-another-server
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from homeserver.protocol.signing import VerifyKey, key_ids_of_signatures, verify_signed_json
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver_federation.errors import FederationError
from homeserver_federation.key_answers import BadKeyAnswer, parse_key_answer

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.storage.server_keys import ServerKey
    from homeserver_federation.client import FederationClient

_log = structlog.get_logger("homeserver.federation.keys")
_TIMEOUT_MS = 15_000
_NOTARY_TIMEOUT_MS = 30_000
_MOST_BYTES = 1024 * 1024
_MOST_AT_ONCE = 50
_MOST_SERVERS_PER_QUESTION = 100
_PAUSE_MS = 10_000
_PAUSE_AFTER_FAILURE_MS = 60_000
_PAUSE_IN_PERSON_MS = 2_000
_PATIENCE_MS = 180_000


class _Wanted(Protocol):
    @property
    def server_name(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def valid_at_ms(self) -> int | None: ...


NotaryKeys = Callable[[str, str], Awaitable[VerifyKey | None]]
"""Finds a notary's key by its server name and key ID."""


class KeyFetcher:
    """`notaries` are the servers trusted to hand on the keys of others."""

    def __init__(self, client: FederationClient, notaries: Sequence[str], clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.notaries = [notary for notary in notaries if notary != client.server_name]
        self._free = asyncio.Semaphore(_MOST_AT_ONCE)
        self._under_way: dict[str, asyncio.Task[list[ServerKey]]] = {}
        self._not_before_ms: BoundedCache[str, int] = BoundedCache("server_key_pauses", 20_000)
        self._failed_ms: BoundedCache[str, int] = BoundedCache("server_key_failures", 20_000)
        self._failing_since_ms: BoundedCache[str, int] = BoundedCache("server_key_failing", 20_000)
        self._known_to_notary: BoundedCache[tuple[str, str], bool] = BoundedCache("server_key_notaries", 20_000)

    def may_answer_later(self, server_name: str) -> bool:
        """Whether a server's keys are worth waiting for: it has not answered for a few minutes at most, and neither
        have all notaries been asked in its place.
        """
        since_ms = self._failing_since_ms.find(server_name)
        if since_ms is None or since_ms + _PATIENCE_MS < self._clock.now_ms():
            return False
        return not self.notaries or any(
            not self._known_to_notary.find((notary, server_name)) for notary in self.notaries
        )

    async def fetch_from_owners(self, server_names: Collection[str], *, in_person: bool = False) -> list[ServerKey]:
        """The keys that servers publish now; nothing of those that do not answer or were asked a moment ago.

        `in_person`: the server is talking to us, so it is asked even if it could not be reached lately.
        """
        answers = await asyncio.gather(*(self._fetch_once(name, in_person) for name in server_names))
        return [key for keys in answers for key in keys]

    async def fetch_from_notary(
        self, notary: str, wanted: Collection[_Wanted], notary_key: NotaryKeys, *, in_person: bool = False
    ) -> list[ServerKey]:
        """The keys of other servers as a notary has them, signed by their owners and by the notary.

        `in_person`: what is wanted comes from an unproven request, so a server's keys are asked for once in a while,
        whatever the request calls them.
        """
        found: list[ServerKey] = []
        now_ms = self._clock.now_ms()
        due = []
        for key in wanted:
            subject = _subject(notary, key, in_person)
            if (self._not_before_ms.find(subject) or 0) <= now_ms:
                due.append(key)
                self._not_before_ms.put(subject, now_ms + _PAUSE_AFTER_FAILURE_MS)
        for question in _questions(due, now_ms):
            try:
                answer = await self._client.post(
                    notary,
                    "/_matrix/key/v2/query",
                    {"server_keys": question},
                    timeout_ms=_NOTARY_TIMEOUT_MS,
                    max_bytes=_MOST_BYTES * 20,
                )
            except FederationError as error:
                _log.info("notary did not answer", notary=notary, reason=str(error))
                for key in due:
                    self._not_before_ms.put(_subject(notary, key, in_person), now_ms + _PAUSE_IN_PERSON_MS)
                return found
            for server_name in question:
                self._known_to_notary.put((notary, server_name), True)
            objects = answer.get("server_keys") if isinstance(answer, dict) else None
            for one in objects if isinstance(objects, list) else ():
                found.extend(await self._keys_of_notary(notary, one, question, notary_key))
        return found

    async def _keys_of_notary(
        self, notary: str, answer: Any, question: Mapping[str, Any], notary_key: NotaryKeys
    ) -> list[ServerKey]:
        server_name = answer.get("server_name") if isinstance(answer, dict) else None
        if not isinstance(server_name, str) or server_name not in question:
            return []
        for key_id in key_ids_of_signatures(answer, notary):
            key = await notary_key(notary, key_id)
            if key is not None and verify_signed_json(answer, notary, key_id, key):
                return self._parsed(answer, server_name)
        _log.info("a notary has not signed its answer", notary=notary, about=server_name)
        return []

    async def _fetch_once(self, server_name: str, in_person: bool) -> list[ServerKey]:
        task = self._under_way.get(server_name)
        if task is None:
            if self._is_paused(server_name, in_person):
                return []
            task = asyncio.create_task(self._fetch(server_name, in_person))
            self._under_way[server_name] = task
            task.add_done_callback(lambda _: self._under_way.pop(server_name, None))
        return await asyncio.shield(task)

    def _is_paused(self, server_name: str, in_person: bool) -> bool:
        now_ms = self._clock.now_ms()
        if (self._not_before_ms.find(server_name) or 0) > now_ms:
            return True
        # One that talks to us is refused as long as its keys are not here, so it is asked again much sooner.
        pause_ms = _PAUSE_IN_PERSON_MS if in_person else _PAUSE_AFTER_FAILURE_MS
        failed_ms = self._failed_ms.find(server_name)
        return failed_ms is not None and failed_ms + pause_ms > now_ms

    async def _fetch(self, server_name: str, in_person: bool) -> list[ServerKey]:
        try:
            async with self._free:
                answer = await self._client.get(
                    server_name,
                    "/_matrix/key/v2/server",
                    timeout_ms=_TIMEOUT_MS,
                    max_bytes=_MOST_BYTES,
                    ignore_back_off=in_person,
                )
        except FederationError as error:
            _log.debug("keys not fetched", server=server_name, reason=str(error))
            self._failed_ms.put(server_name, self._clock.now_ms())
            if self._failing_since_ms.find(server_name) is None:
                self._failing_since_ms.put(server_name, self._clock.now_ms())
            return []
        self._failing_since_ms.drop(server_name)
        self._not_before_ms.put(server_name, self._clock.now_ms() + _PAUSE_MS)
        return self._parsed(answer, server_name)

    def _parsed(self, answer: Any, server_name: str) -> list[ServerKey]:
        try:
            return parse_key_answer(answer, server_name, self._clock.now_ms())
        except BadKeyAnswer as error:
            _log.info("useless answer with server keys", about=server_name, reason=str(error))
            return []


def _subject(notary: str, key: _Wanted, in_person: bool) -> str:
    return f"{notary} {key.server_name}" if in_person else f"{notary} {key.server_name} {key.key_id}"


def _questions(wanted: Collection[_Wanted], now_ms: int) -> Iterator[dict[str, dict[str, Any]]]:
    """The keys as criteria of a notary query, not too many servers in each."""
    criteria: dict[str, dict[str, Any]] = {}
    for key in wanted:
        minimum = now_ms if key.valid_at_ms is None else key.valid_at_ms
        criteria.setdefault(key.server_name, {})[key.key_id] = {"minimum_valid_until_ts": minimum}
    remaining = iter(criteria.items())
    while some := dict(islice(remaining, _MOST_SERVERS_PER_QUESTION)):
        yield some
