"""Push rules: each user's ruleset, and the changes they make to it.

Only what a user changed is stored; the default rules are today's.

Spec: client-server-api #push-rules-api
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from homeserver.protocol import push_rules as protocol
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.push_rules import CompiledRuleset, Ruleset
from homeserver.services.loading_cache import LoadingCache
from homeserver.storage import push_rules as rows

if TYPE_CHECKING:
    from homeserver.storage.changes import Change
    from homeserver.storage.database import Database, Transaction

_MOST_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class _Loaded:
    ruleset: Ruleset
    compiled: CompiledRuleset
    personal: bool
    size: int


class PushRules:
    """The rulesets of local users, cached in both forms. Handed-out rulesets are not to be changed."""

    def __init__(self, database: Database, *, cache_bytes: int = 32 * 1024 * 1024) -> None:
        self._database = database
        self._cache: LoadingCache[str, _Loaded] = LoadingCache("push_rules", cache_bytes, lambda loaded: loaded.size)

    async def ruleset_of(self, user_id: str) -> Ruleset:
        """The whole ruleset: what clients see under `global`."""
        return (await self._get(user_id)).ruleset

    async def compiled_for(self, user_id: str) -> CompiledRuleset:
        """The ruleset ready for evaluation."""
        return (await self._get(user_id)).compiled

    async def find_personal(self, user_id: str) -> CompiledRuleset | None:
        """The ruleset of a user who has changed it, ready for evaluation; None for all others."""
        loaded = await self._get(user_id)
        return loaded.compiled if loaded.personal else None

    async def get_rule(self, user_id: str, kind: str, rule_id: str) -> dict[str, Any]:
        """One rule; M_NOT_FOUND, M_INVALID_PARAM for an unknown kind."""
        return protocol.get_rule(await self.ruleset_of(user_id), kind, rule_id)

    async def put_rule(
        self,
        user_id: str,
        kind: str,
        rule_id: str,
        body: Mapping[str, Any],
        *,
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        """Create or change one of the user's own rules; the errors of `protocol.push_rules.add_rule`."""
        await self._change(
            user_id, lambda ruleset: protocol.add_rule(ruleset, kind, rule_id, body, before=before, after=after)
        )

    async def delete_rule(self, user_id: str, kind: str, rule_id: str) -> None:
        """M_NOT_FOUND without such a rule."""
        await self._change(user_id, lambda ruleset: protocol.delete_rule(ruleset, kind, rule_id))

    async def set_enabled(self, user_id: str, kind: str, rule_id: str, enabled: object) -> None:
        """M_NOT_FOUND without such a rule, M_INVALID_PARAM for what is not a boolean."""
        await self._change(user_id, lambda ruleset: protocol.set_enabled(ruleset, kind, rule_id, enabled))

    async def set_actions(self, user_id: str, kind: str, rule_id: str, actions: object) -> None:
        """M_NOT_FOUND without such a rule, M_INVALID_PARAM for what is no action."""
        await self._change(user_id, lambda ruleset: protocol.set_actions(ruleset, kind, rule_id, actions))

    async def copy_room_rules(self, user_id: str, old_room_id: str, new_room_id: str) -> None:
        """Have the rules about a room count for the room that replaces it."""
        ruleset = await self.ruleset_of(user_id)
        if any(rule["rule_id"] == old_room_id for rule in ruleset["room"]):
            rule = protocol.get_rule(ruleset, "room", old_room_id)
            await self.put_rule(user_id, "room", new_room_id, {"actions": rule["actions"]})

    def forget(self, user_id: str) -> None:
        """The rules were changed by somebody else: read them anew."""
        self._cache.drop(user_id)

    def follow(self, changes: Iterable[Change]) -> None:
        """Forget what another process changed."""
        for change in changes:
            if change.subject == "account_data":
                for user_id in change.user_ids:
                    self._cache.drop(user_id)

    def forget_all(self) -> None:
        """Nobody knows what changed."""
        self._cache.clear()

    async def _get(self, user_id: str) -> _Loaded:
        return await self._cache.get(user_id, lambda: self._load(user_id))

    async def _load(self, user_id: str) -> _Loaded:
        raw = await self._database.read(rows.find_ruleset, user_id)
        ruleset = _whole(raw, user_id)
        return _Loaded(ruleset, protocol.compile_ruleset(ruleset), raw is not None, 4_000 + 4 * len(raw or b""))

    async def _change(self, user_id: str, change: Callable[[Ruleset], Ruleset]) -> None:
        await self._database.write(_store_change, user_id, change)
        self._cache.drop(user_id)


def _store_change(tx: Transaction, user_id: str, change: Callable[[Ruleset], Ruleset]) -> None:
    old = _whole(rows.lock_ruleset(tx, user_id), user_id)
    new = change(old)
    if new == old:
        return
    raw = orjson.dumps(_changes_only(new, user_id))
    if len(raw) > _MOST_BYTES:
        raise MatrixError("M_TOO_LARGE", f"A user's push rules may have at most {_MOST_BYTES} bytes.", 413)
    rows.store_ruleset(tx, user_id, raw)


def _whole(raw: bytes | None, user_id: str) -> Ruleset:
    if raw is None:
        return protocol.default_ruleset(user_id)
    return protocol.with_current_defaults(orjson.loads(raw), user_id)


def _changes_only(ruleset: Ruleset, user_id: str) -> Ruleset:
    defaults = protocol.default_ruleset(user_id)
    return {kind: [rule for rule in rules if rule not in defaults[kind]] for kind, rules in ruleset.items()}
