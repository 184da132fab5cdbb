"""`/pushrules`: which events notify the user, and how.

Spec: client-server-api #push-rules-api
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.client_api.paths import v3
from homeserver.protocol.errors import JsonValue, missing_param
from homeserver.web.endpoint import endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester

if TYPE_CHECKING:
    from homeserver.services.push_rules import PushRules

_ALL = [*v3("/pushrules/"), *v3("/pushrules")]
_GLOBAL = [*v3("/pushrules/global/"), *v3("/pushrules/global")]
_RULE = v3("/pushrules/global/{kind}/{ruleId}")
_ENABLED = v3("/pushrules/global/{kind}/{ruleId}/enabled")
_ACTIONS = v3("/pushrules/global/{kind}/{ruleId}/actions")


class PushrulesApi:
    def __init__(self, push_rules: PushRules) -> None:
        self._push_rules = push_rules

    @endpoint("GET", _ALL, operation="getPushRules")
    async def get_push_rules(self, request: Request, requester: Requester) -> JsonValue:
        return {"global": await self._push_rules.ruleset_of(requester.user_id)}

    @endpoint("GET", _GLOBAL, operation="getPushRulesGlobal")
    async def get_push_rules_global(self, request: Request, requester: Requester) -> JsonValue:
        return await self._push_rules.ruleset_of(requester.user_id)

    @endpoint("GET", _RULE, operation="getPushRule")
    async def get_push_rule(self, request: Request, requester: Requester) -> JsonValue:
        return await self._push_rules.get_rule(requester.user_id, *_named(request))

    @endpoint("PUT", _RULE, operation="setPushRule", body=dict)
    async def set_push_rule(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        kind, rule_id = _named(request)
        before, after = request.query.get("before"), request.query.get("after")
        await self._push_rules.put_rule(requester.user_id, kind, rule_id, body, before=before, after=after)
        return {}

    @endpoint("DELETE", _RULE, operation="deletePushRule")
    async def delete_push_rule(self, request: Request, requester: Requester) -> JsonValue:
        await self._push_rules.delete_rule(requester.user_id, *_named(request))
        return {}

    @endpoint("GET", _ENABLED, operation="isPushRuleEnabled")
    async def is_push_rule_enabled(self, request: Request, requester: Requester) -> JsonValue:
        rule = await self._push_rules.get_rule(requester.user_id, *_named(request))
        return {"enabled": rule["enabled"]}

    @endpoint("PUT", _ENABLED, operation="setPushRuleEnabled", body=dict)
    async def set_push_rule_enabled(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        await self._push_rules.set_enabled(requester.user_id, *_named(request), _given(body, "enabled"))
        return {}

    @endpoint("GET", _ACTIONS, operation="getPushRuleActions")
    async def get_push_rule_actions(self, request: Request, requester: Requester) -> JsonValue:
        rule = await self._push_rules.get_rule(requester.user_id, *_named(request))
        return {"actions": rule["actions"]}

    @endpoint("PUT", _ACTIONS, operation="setPushRuleActions", body=dict)
    async def set_push_rule_actions(self, request: Request, requester: Requester, body: dict[str, Any]) -> JsonValue:
        await self._push_rules.set_actions(requester.user_id, *_named(request), _given(body, "actions"))
        return {}


def _named(request: Request) -> tuple[str, str]:
    return request.path["kind"], request.path["ruleId"]


def _given(body: dict[str, Any], key: str) -> object:
    if key not in body:
        raise missing_param(f"`{key}` is missing.")
    return body[key]
