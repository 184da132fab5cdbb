"""`/pushrules`: the user's own rules, their order, and the settings of the default rules."""

from __future__ import annotations

from typing import Any

import pytest
from accounts_app import V3, AccountsApp

from homeserver.storage import push_rules as rows
from homeserver.storage.database import load_position
from homeserver.testing import AsgiClient, path_of

RULES = f"{V3}/pushrules"
ALICE = "@alice:example.org"


async def names(client: AsgiClient, kind: str) -> list[str]:
    ruleset = (await client.get(f"{RULES}/global/")).json
    return [rule["rule_id"] for rule in ruleset[kind]]


async def test_the_default_rules(app: AccountsApp) -> None:
    alice = await app.user("alice")
    everything = (await alice.get(f"{RULES}/")).json
    assert everything.keys() == {"global"}
    assert everything["global"].keys() == {"override", "content", "room", "sender", "underride"}
    assert everything == (await alice.get(RULES)).json
    master = (await alice.get(f"{RULES}/global/override/.m.rule.master")).json
    assert (master["default"], master["enabled"]) == (True, False)


async def test_a_rule_of_ones_own(app: AccountsApp) -> None:
    alice = await app.user("alice")
    path = f"{RULES}/global/content/cake"
    assert (await alice.put(path, {"pattern": "cake*lie", "actions": ["notify"]})).json == {}
    rule = {"rule_id": "cake", "default": False, "enabled": True, "pattern": "cake*lie", "actions": ["notify"]}
    assert (await alice.get(path)).json == rule
    assert (await alice.put(f"{path}/enabled", {"enabled": False})).json == {}
    assert (await alice.get(f"{path}/enabled")).json == {"enabled": False}
    assert (await alice.put(f"{path}/actions", {"actions": []})).json == {}
    assert (await alice.get(f"{path}/actions")).json == {"actions": []}
    assert (await alice.delete(path)).json == {}
    assert (await alice.get(path)).json["errcode"] == "M_NOT_FOUND"


async def test_room_rules_have_awkward_names(app: AccountsApp) -> None:
    alice = await app.user("alice")
    path = f"{RULES}/global/room" + path_of("!a?b:example.org")
    assert (await alice.put(path, {"actions": []})).status == 200
    assert await names(alice, "room") == ["!a?b:example.org"]


async def test_order(app: AccountsApp) -> None:
    alice = await app.user("alice")

    async def put(name: str, query: str = "") -> int:
        answer = await alice.put(f"{RULES}/global/sender/{name}{query}", {"actions": []})
        return answer.status

    for name, query in (("@a:x", ""), ("@b:x", ""), ("@c:x", "?after=@b:x"), ("@d:x", "?before=@a:x")):
        assert await put(name, query) == 200
    assert await names(alice, "sender") == ["@b:x", "@c:x", "@d:x", "@a:x"]
    assert await put("@a:x", "?before=@b:x") == 200
    assert await names(alice, "sender") == ["@a:x", "@b:x", "@c:x", "@d:x"]
    refused = await alice.put(f"{RULES}/global/sender/@e:x?after=@z:x", {"actions": []})
    assert (refused.status, refused.json["errcode"]) == (400, "M_UNKNOWN")


async def test_default_rules_can_be_changed_and_not_deleted(app: AccountsApp) -> None:
    alice = await app.user("alice")
    path = f"{RULES}/global/underride/.m.rule.message"
    await alice.put(f"{path}/actions", {"actions": []})
    await alice.put(f"{path}/enabled", {"enabled": False})
    rule = (await alice.get(path)).json
    assert (rule["default"], rule["enabled"], rule["actions"]) == (True, False, [])
    assert (await alice.delete(path)).status == 404
    stored = await app.database.read(rows.find_ruleset, ALICE)
    assert stored is not None
    assert stored.count(b"rule_id") == 1  # the other default rules are not kept with the user


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "content/none", None, 404),
        ("DELETE", "content/none", None, 404),
        ("PUT", "content/none/enabled", {"enabled": True}, 404),
        ("PUT", "content/none/actions", {"actions": []}, 404),
        ("PUT", "content/cake", {"actions": ["notify"]}, 400),
        ("PUT", "content/cake", {"pattern": "cake"}, 400),
        ("PUT", "content/cake", {"pattern": "cake", "actions": "notify"}, 400),
        ("PUT", "content/.cake", {"pattern": "cake", "actions": []}, 400),
        ("PUT", "content/ca%2Fke", {"pattern": "cake", "actions": []}, 400),
        ("PUT", "content/ca%5Cke", {"pattern": "cake", "actions": []}, 400),
        ("PUT", "horoscope/cake", {"actions": []}, 400),
        ("PUT", "override/.m.rule.master/enabled", {"enabled": "yes"}, 400),
        ("PUT", "override/.m.rule.master/enabled", {}, 400),
        ("PUT", "override/.m.rule.master/actions", {}, 400),
    ],
)
async def test_refusals(app: AccountsApp, method: str, path: str, body: dict[str, Any] | None, status: int) -> None:
    alice = await app.user("alice")
    assert (await alice.request(method, f"{RULES}/global/{path}", json=body)).status == status


async def test_changes_are_part_of_the_log(app: AccountsApp) -> None:
    alice = await app.user("alice")
    before = await app.database.read(load_position)
    assert not await app.database.read(rows.changed_after, ALICE, 0)
    compiled = await app.push_rules.compiled_for(ALICE)
    await alice.put(f"{RULES}/global/sender/@b:x", {"actions": []})
    assert await app.database.read(rows.changed_after, ALICE, before)
    assert not await app.database.read(rows.changed_after, ALICE, before + 1)
    change = app.changes[-1]
    assert (change.position, change.subject, change.user_ids) == (before + 1, "account_data", (ALICE,))
    assert await app.push_rules.compiled_for(ALICE) is not compiled


async def test_rules_move_to_an_upgraded_room(app: AccountsApp) -> None:
    alice = await app.user("alice")
    await alice.put(f"{RULES}/global/room/!old:x", {"actions": []})
    await app.push_rules.copy_room_rules(ALICE, "!old:x", "!new:x")
    await app.push_rules.copy_room_rules(ALICE, "!other:x", "!newer:x")
    assert await names(alice, "room") == ["!new:x", "!old:x"]
