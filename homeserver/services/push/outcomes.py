"""What the predefined push rules say of an event, worked out once when it is written.

Members are not gone through: only those whom the event mentions by name get a rule set of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from homeserver.protocol.events import Event
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.push_rules import (
    CompiledRuleset,
    EventProperties,
    PushContext,
    compile_ruleset,
    default_ruleset,
)
from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.services.rooms.append_event import PushOutcome
from homeserver.storage.events import Mention

# A member whom no event can single out, and a room that is no one-to-one chat.
_ANYBODY: Final = "@:"
_A_GROUP: Final = 3
_REMEMBERED_USERS = 2_000
_MOST_MENTIONS = 200

NOTHING: Final = PushOutcome()


class DefaultPushOutcomes:
    """Evaluates the predefined rules."""

    def __init__(self) -> None:
        self._for_anybody = compile_ruleset(default_ruleset(_ANYBODY))
        self._for_user: BoundedCache[str, CompiledRuleset] = BoundedCache("default_push_rules", _REMEMBERED_USERS)

    def of(self, event: Event, power_levels: PowerLevels, members: Mapping[str, str]) -> PushOutcome:
        """What the event does to a member in general, and to those local `members` it mentions."""
        properties = EventProperties(event)
        general = self._for_anybody.evaluate(properties, PushContext(_ANYBODY, None, _A_GROUP, power_levels))
        notify = (2 if general.highlight else 1) if general.notify else 0
        mentioned = _mentioned(event)
        if not mentioned:
            return PushOutcome(notify) if notify else NOTHING
        mentions = []
        for user_id in mentioned:
            if user_id not in members or user_id == event.sender:
                continue
            context = PushContext(user_id, None, _A_GROUP, power_levels)
            own = self._rules_of(user_id).evaluate(properties, context)
            if own.notify and (own.highlight or not notify):
                mentions.append(Mention(user_id, notify=not notify, highlight=own.highlight and notify < 2))
        return PushOutcome(notify, tuple(mentions))

    def _rules_of(self, user_id: str) -> CompiledRuleset:
        rules = self._for_user.find(user_id)
        if rules is None:
            rules = compile_ruleset(default_ruleset(user_id))
            self._for_user.put(user_id, rules)
        return rules


def _mentioned(event: Event) -> list[str]:
    mentions = event.content.get("m.mentions")
    user_ids = mentions.get("user_ids") if isinstance(mentions, dict) else None
    if not isinstance(user_ids, list):
        return []
    return list(dict.fromkeys(user_id for user_id in user_ids[:_MOST_MENTIONS] if isinstance(user_id, str)))
