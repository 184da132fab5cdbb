"""Hands on other servers' keys with this server's signature beside the owner's.

Spec: server-server-api #querying-keys-through-another-server
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol.signing import sign_json

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.storage.server_keys import ServerKey
    from homeserver_config.sections.federation import FederationSettings
    from homeserver_federation.key_ring import KeyRing

Criteria = Mapping[str, int]
"""The key IDs asked for, each with the time (ms) it should be valid until. None at all: every key."""

MOST_SERVERS = 100


class KeyNotary:
    """Answers from what is known, and asks the owners for what is unknown or about to run out."""

    def __init__(self, key_ring: KeyRing, settings: FederationSettings, clock: Clock) -> None:
        self._key_ring = key_ring
        self._settings = settings
        self._clock = clock

    async def answers(self, wanted: Mapping[str, Criteria], minimum_ms: int | None = None) -> list[dict[str, Any]]:
        """The signed objects with the keys of servers; nothing for servers of which nothing can be had.

        `minimum_ms` is until when the keys of servers without criteria should be valid; without it, until now.
        """
        now_ms = self._clock.now_ms()
        own = self._key_ring.own
        answers: list[dict[str, Any]] = []
        if own.server_name in wanted:
            answers.append(own.answer(now_ms))
        others = {
            name: criteria
            for name, criteria in wanted.items()
            if name != own.server_name and self._settings.may_talk_to(name)
        }
        known = await self._key_ring.load_keys(others)
        minimum_ms = now_ms if minimum_ms is None else minimum_ms
        stale = [name for name, criteria in others.items() if _is_stale(known[name], criteria, minimum_ms, now_ms)]
        if stale:
            await self._key_ring.fetch_keys(stale)
            known = await self._key_ring.load_keys(others)
        for name, criteria in others.items():
            answers.extend(self._signed(answer) for answer in _answers_with(known[name], criteria))
        return answers

    def _signed(self, answer: bytes) -> dict[str, Any]:
        own = self._key_ring.own
        return sign_json(orjson.loads(answer), own.server_name, own.current)


def _is_stale(known: Mapping[str, ServerKey], criteria: Criteria, minimum_ms: int, now_ms: int) -> bool:
    """Whether the owner is to be asked: a key is missing, does not last, or has lived half of its life here."""
    if not known:
        return True
    current = [key for key in known.values() if key.expired_ms is None]
    wanted = criteria or {key.key_id: minimum_ms for key in current}
    if not wanted:
        return True
    for key_id, valid_until_ms in wanted.items():
        key = known.get(key_id)
        if key is None:
            return True
        if key.expired_ms is None:
            half_life_ms = key.fetched_ms + (key.valid_until_ms - key.fetched_ms) // 2
            if key.valid_until_ms < valid_until_ms or now_ms > half_life_ms:
                return True
    return False


def _answers_with(known: Mapping[str, ServerKey], criteria: Criteria) -> list[bytes]:
    """The distinct answers the keys came in, newest first; all that is known where none of the keys asked for is."""
    wanted = [known[key_id] for key_id in criteria if key_id in known] or list(known.values())
    wanted.sort(key=lambda key: key.fetched_ms, reverse=True)
    return list(dict.fromkeys(key.answer for key in wanted))
