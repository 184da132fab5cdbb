"""The public keys of all servers: from memory, the database, their owners, and last from notaries.

What is missing for a batch of events is fetched once, side by side; fetches of the same server are shared.

Spec: server-server-api #retrieving-server-keys
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from homeserver.protocol.errors import forbidden
from homeserver.protocol.event_hashes import verify_event_signature
from homeserver.protocol.policy_servers import POLICY_SERVER_KEY_ID
from homeserver.protocol.receipt import required_signatures
from homeserver.protocol.signing import VerifyKey, key_ids_of_signatures, verify_key_of, verify_signed_json
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.storage.server_keys import ServerKey, load_server_keys, store_server_keys
from homeserver_federation.key_answers import valid_until_ms
from homeserver_federation.ports import SignatureFailure

if TYPE_CHECKING:
    from homeserver.protocol.events import Event
    from homeserver.runtime.clock import Clock
    from homeserver.storage.database import Database
    from homeserver_federation.key_answers import OwnKeys
    from homeserver_federation.key_fetcher import KeyFetcher

_MOST_SERVERS_IN_MEMORY = 20_000
_IN_A_THREAD_FROM = 8
_log = structlog.get_logger("homeserver.federation.keys")


class WantedKey(NamedTuple):
    """A key somebody needs, and the time it must be valid at; None where validity does not matter."""

    server_name: str
    key_id: str
    valid_at_ms: int | None


class _Check(NamedTuple):
    """One signature of one event that has to be right, with the candidates for its key."""

    event: Event
    server_name: str
    keys: tuple[tuple[str, VerifyKey], ...]


class KeyRing:
    """Everybody's keys. `own` are ours."""

    def __init__(self, own: OwnKeys, fetcher: KeyFetcher, database: Database, clock: Clock) -> None:
        self.own = own
        self._fetcher = fetcher
        self._database = database
        self._clock = clock
        self.cache: BoundedCache[str, dict[str, ServerKey]] = BoundedCache("server_keys", _MOST_SERVERS_IN_MEMORY)

    async def find_verify_key(self, server_name: str, key_id: str, *, valid_at_ms: int | None) -> VerifyKey | None:
        """A server's key, if its signatures counted at a time (at any time for None); fetched if it is not known."""
        if server_name == self.own.server_name:
            return self.own.find(key_id)
        await self._provide([WantedKey(server_name, key_id, valid_at_ms)])
        return self._usable(server_name, key_id, valid_at_ms)

    async def find_current_key(self, server_name: str, key_id: str) -> VerifyKey | None:
        """A key the server signs requests with today: old keys are good for events only."""
        if server_name == self.own.server_name:
            return self.own.current.verify_key if key_id == self.own.current.key_id else None
        now_ms = self._clock.now_ms()
        await self._provide([WantedKey(server_name, key_id, now_ms)], in_person=True)
        known = self._known(server_name).get(key_id)
        if known is None or known.expired_ms is not None:
            return None
        return self._usable(server_name, key_id, now_ms)

    async def check_signed_json(self, server_name: str, signed: Mapping[str, Any]) -> None:
        """Check that an object carries a valid signature of a server, by a key valid now. M_FORBIDDEN."""
        now_ms = self._clock.now_ms()
        key_ids = key_ids_of_signatures(signed, server_name)
        if server_name != self.own.server_name:
            await self._provide([WantedKey(server_name, key_id, now_ms) for key_id in key_ids])
        for key_id in key_ids:
            key = self._usable(server_name, key_id, now_ms)
            if key is not None and verify_signed_json(signed, server_name, key_id, key):
                return
        raise forbidden(f"There is no valid signature of {server_name}.")

    async def signature_failures(self, events: Sequence[Event]) -> dict[str, SignatureFailure]:
        """Those of the events that lack a required signature, by event ID with the reason (receipt check 2)."""
        needed = [(event, server) for event in events for server in sorted(required_signatures(event))]
        candidates = [_candidates(event, server) for event, server in needed]
        wanted = [key for keys in candidates for key in keys if key.server_name != self.own.server_name]
        await self._provide(wanted)
        checks = []
        for (event, server), keys in zip(needed, candidates, strict=True):
            usable = ((key.key_id, self._usable(key.server_name, key.key_id, key.valid_at_ms)) for key in keys)
            checks.append(_Check(event, server, tuple((key_id, key) for key_id, key in usable if key is not None)))
        if len(checks) >= _IN_A_THREAD_FROM:
            return await asyncio.to_thread(_failures, checks, self._fetcher.may_answer_later)
        return _failures(checks, self._fetcher.may_answer_later)

    async def load_keys(self, server_names: Collection[str]) -> dict[str, dict[str, ServerKey]]:
        """What is known of servers' keys, without asking anybody else."""
        missing = [name for name in server_names if self.cache.find(name) is None]
        if missing:
            loaded = await self._database.read(load_server_keys, missing)
            for name in missing:
                self.cache.put(name, {**loaded.get(name, {}), **(self.cache.find(name) or {})})
        return {name: self._known(name) for name in server_names}

    async def fetch_keys(self, server_names: Collection[str]) -> None:
        """Ask servers for their keys, for a notary's answer. Those that do not answer are left out."""
        await self._keep(await self._fetcher.fetch_from_owners(server_names))

    async def _provide(self, wanted: Iterable[WantedKey], *, in_person: bool = False) -> None:
        """Bring the keys into memory as far as they can be had. `in_person`: the owner is talking to us right now."""
        distinct = set(wanted)
        if all(self._is_known(key) for key in distinct):
            return
        await self.load_keys({key.server_name for key in distinct})
        missing = [key for key in distinct if not self._is_known(key)]
        if not missing:
            return
        owners = {key.server_name for key in missing}
        await self._keep(await self._fetcher.fetch_from_owners(owners, in_person=in_person))
        missing = [key for key in missing if not self._is_known(key)]
        for notary in self._fetcher.notaries:
            if not missing:
                return
            answer = await self._fetcher.fetch_from_notary(notary, missing, self._notary_key, in_person=in_person)
            await self._keep(answer)
            missing = [key for key in missing if not self._is_known(key)]
        if missing:
            _log.debug("keys not found", keys=[f"{key.server_name} {key.key_id}" for key in missing])

    async def _notary_key(self, notary: str, key_id: str) -> VerifyKey | None:
        """A notary's key, from nobody but the notary."""
        await self.load_keys([notary])
        now_ms = self._clock.now_ms()
        if not self._is_known(WantedKey(notary, key_id, now_ms)):
            await self._keep(await self._fetcher.fetch_from_owners([notary]))
        return self._usable(notary, key_id, now_ms)

    async def _keep(self, keys: Sequence[ServerKey]) -> None:
        if not keys:
            return
        await self.load_keys({key.server_name for key in keys})
        newer = [key for key in keys if _is_newer(key, self._known(key.server_name).get(key.key_id))]
        for key in newer:
            self.cache.put(key.server_name, {**self._known(key.server_name), key.key_id: key})
        if newer:
            await self._database.write(store_server_keys, newer)

    def _known(self, server_name: str) -> dict[str, ServerKey]:
        return self.cache.find(server_name) or {}

    def _is_known(self, wanted: WantedKey) -> bool:
        known = self._known(wanted.server_name).get(wanted.key_id)
        if known is None:
            return False
        if known.expired_ms is not None:
            return True  # nobody can make it valid for longer
        return wanted.valid_at_ms is None or wanted.valid_at_ms <= valid_until_ms(known)

    def _usable(self, server_name: str, key_id: str, valid_at_ms: int | None) -> VerifyKey | None:
        if server_name == self.own.server_name:
            return self.own.find(key_id)
        known = self._known(server_name).get(key_id)
        if known is None or (valid_at_ms is not None and valid_at_ms > valid_until_ms(known)):
            return None
        return verify_key_of(known.public_key)


def _is_newer(key: ServerKey, known: ServerKey | None) -> bool:
    """Whether to believe `key` over what was known; a notary's copy may be older than our own."""
    return known is None or (key.valid_until_ms, key.fetched_ms) >= (known.valid_until_ms, known.fetched_ms)


def _candidates(event: Event, server_name: str) -> list[WantedKey]:
    valid_at_ms = event.origin_server_ts if event.room_version.signing.key_validity_enforced else None
    key_ids = key_ids_of_signatures(event.pdu, server_name)
    return [WantedKey(server_name, key_id, valid_at_ms) for key_id in key_ids if key_id != POLICY_SERVER_KEY_ID]


def _failures(checks: Sequence[_Check], may_answer_later: Callable[[str], bool]) -> dict[str, SignatureFailure]:
    failures: dict[str, SignatureFailure] = {}
    for check in checks:
        event = check.event
        if event.event_id in failures:
            continue
        if not check.keys:
            failures[event.event_id] = SignatureFailure(
                f"No signature of {check.server_name} by a known and valid key", may_answer_later(check.server_name)
            )
        elif not any(
            verify_event_signature(event.pdu, event.room_version, check.server_name, key_id, key)
            for key_id, key in check.keys
        ):
            failures[event.event_id] = SignatureFailure(f"The signature of {check.server_name} is wrong")
    return failures
