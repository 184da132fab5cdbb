"""Push rules: the predefined ones, changing a user's ruleset, and evaluating it for an event.

Spec: client-server-api #push-rules
"""

from homeserver.protocol.push_rules.defaults import default_ruleset, with_current_defaults
from homeserver.protocol.push_rules.evaluation import (
    CompiledRuleset,
    EventProperties,
    PushContext,
    PushOutcome,
    compile_ruleset,
)
from homeserver.protocol.push_rules.ruleset import (
    RULE_KINDS,
    Ruleset,
    add_rule,
    delete_rule,
    get_rule,
    set_actions,
    set_enabled,
)

__all__ = [
    "RULE_KINDS",
    "CompiledRuleset",
    "EventProperties",
    "PushContext",
    "PushOutcome",
    "Ruleset",
    "add_rule",
    "compile_ruleset",
    "default_ruleset",
    "delete_rule",
    "get_rule",
    "set_actions",
    "set_enabled",
    "with_current_defaults",
]
