"""Rooms shared with a real Synapse, begun on either side, in the room versions of today."""

from __future__ import annotations

import asyncio

from interop.people import Person, Side, esc, eventually


async def test_join_by_id_and_talk(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version, name="A room")
    assert await ben.join(room_id, via=ann) == room_id
    from_ann = await ann.say(room_id, "hello")
    assert (await ben.sees(room_id, from_ann))["content"]["body"] == "hello"
    from_ben = await ben.say(room_id, "hello yourself")
    assert (await ann.sees(room_id, from_ben))["sender"] == ben.user_id
    answers = [await (ann, ben)[number % 2].say(room_id, f"answer {number}") for number in range(6)]
    for event_id in answers:
        await ann.sees(room_id, event_id)
        await ben.sees(room_id, event_id)
    assert (await ben.state(room_id, "m.room.name"))["name"] == "A room"
    assert (await ben.state(room_id, "m.room.create")).get("room_version") == version


async def test_join_by_alias(ann: Person, ben: Person, version: str) -> None:
    name = f"meeting-{version}-{ann.user_id[1:6]}"
    room_id = await ann.create_room(version, room_alias_name=name)
    assert await ben.join(f"#{name}:{ann.server_name}") == room_id
    await ann.sees_membership(room_id, ben, "join")


async def test_join_by_invite(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version, preset="private_chat", name="Private")
    await ann.act(room_id, "invite", ben)
    await ben.is_in(room_id, "invite")
    await ben.join(room_id)
    event_id = await ben.say(room_id, "thank you")
    await ann.sees(room_id, event_id)


async def test_invitations_refused_and_withdrawn(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version, preset="private_chat")
    await ann.act(room_id, "invite", ben)
    await ben.is_in(room_id, "invite")
    await ben.act(room_id, "leave")
    await ann.sees_membership(room_id, ben, "leave")
    await ann.act(room_id, "invite", ben)
    await ben.is_in(room_id, "invite")
    await ann.act(room_id, "kick", ben)
    await ben.is_in(room_id, "leave")


async def test_earlier_history(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version)
    said = [await ann.say(room_id, f"before {number}") for number in range(30)]
    await ben.join(room_id, via=ann)

    async def reads_back() -> bool:
        found: list[str] = []
        start: dict[str, str] = {}
        for _ in range(10):
            page = await ben.call("GET", f"/rooms/{esc(room_id)}/messages", dir="b", limit="10", **start)
            found += [event["event_id"] for event in page["chunk"]]
            if "end" not in page:
                break
            start = {"from": page["end"]}
        return [event_id for event_id in reversed(found) if event_id in said] == said

    await eventually(reads_back)


async def test_state_changes(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version)
    await ben.join(room_id, via=ann)
    await ann.set_state(room_id, "m.room.topic", {"topic": "tea"})
    await ben.sees_state(room_id, "m.room.topic", "", topic="tea")
    status, _ = await ben.ask("PUT", f"/rooms/{esc(room_id)}/state/m.room.topic/", {"topic": "coffee"})
    assert status == 403
    levels = await ann.state(room_id, "m.room.power_levels")
    levels["users"] = {**levels.get("users", {}), ben.user_id: 50}
    await ann.set_state(room_id, "m.room.power_levels", levels)
    await ben.sees_state(room_id, "m.room.power_levels", "", users=levels["users"])
    await ben.set_state(room_id, "m.room.topic", {"topic": "coffee"})
    await ann.sees_state(room_id, "m.room.topic", "", topic="coffee")


async def test_kick_ban_and_leave(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version)
    await ben.join(room_id, via=ann)
    await ann.sees_membership(room_id, ben, "join")
    await ann.act(room_id, "kick", ben)
    await ben.is_in(room_id, "leave")
    await ben.join(room_id, via=ann)
    await ann.sees_membership(room_id, ben, "join")
    await ben.is_in(room_id, "join")
    await ann.act(room_id, "ban", ben)
    await ben.is_in(room_id, "leave")
    status, answer = await ben.ask("POST", f"/join/{esc(room_id)}", {}, via=ann.server_name)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    await ann.act(room_id, "unban", ben)
    await ben.join(room_id, via=ann)
    await ben.act(room_id, "leave")
    await ann.sees_membership(room_id, ben, "leave")


async def test_knock(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version, initial_state=[_state("m.room.join_rules", join_rule="knock")])
    await ben.call("POST", f"/knock/{esc(room_id)}", {"reason": "please"}, via=ann.server_name)
    await ann.sees_state(room_id, "m.room.member", ben.user_id, membership="knock", reason="please")
    await ben.is_in(room_id, "knock")
    await ann.act(room_id, "invite", ben)
    await ben.is_in(room_id, "invite")
    await ben.join(room_id)
    await ann.sees_membership(room_id, ben, "join")


async def test_knocks_refused_and_withdrawn(host: Side, ann: Person, ben: Person, version: str) -> None:
    """Synapse tells no server outside the room of a refusal, and does not listen when told; nor does it tell when its
    own user withdraws.
    """
    room_id = await ann.create_room(version, initial_state=[_state("m.room.join_rules", join_rule="knock")])
    await ben.call("POST", f"/knock/{esc(room_id)}", {}, via=ann.server_name)
    await ann.sees_membership(room_id, ben, "knock")
    await ben.is_in(room_id, "knock")
    if host.is_synapse:
        await ben.act(room_id, "leave")
    else:
        await ann.act(room_id, "kick", ben)
    await ann.sees_membership(room_id, ben, "leave")
    await ben.act(room_id, "leave")
    await ben.is_in(room_id, "leave")


async def test_restricted_join(ann: Person, ben: Person, guest: Side, version: str) -> None:
    space_id = await ann.create_room(version, creation_content={"type": "m.space"})
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space_id}]}
    room_id = await ann.create_room(version, initial_state=[_state("m.room.join_rules", **rule)])
    status, answer = await ben.ask("POST", f"/join/{esc(room_id)}", {}, via=ann.server_name)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    await ben.join(space_id, via=ann)
    await ben.join(room_id, via=ann)
    await ann.sees_membership(room_id, ben, "join")
    event_id = await ben.say(room_id, "in")
    await ann.sees(room_id, event_id)
    # With nobody on this side who may invite, the other side authorises even those who come second.
    cleo = await guest.person("cleo")
    await cleo.join(space_id, via=ann)
    await ann.sees_membership(space_id, cleo, "join")
    await cleo.join(room_id, via=ann)
    await ann.sees_membership(room_id, cleo, "join")


async def test_redaction(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version)
    await ben.join(room_id, via=ann)
    for redacting, other in ((ann, ben), (ben, ann)):
        event_id = await redacting.say(room_id, "a slip")
        await other.sees(room_id, event_id)
        path = f"/rooms/{esc(room_id)}/redact/{esc(event_id)}/{event_id[1:8]}"
        redaction = (await redacting.call("PUT", path, {"reason": "oops"}))["event_id"]
        await other.sees(room_id, redaction)
        seen = await other.call("GET", f"/rooms/{esc(room_id)}/event/{esc(event_id)}")
        assert seen["content"] == {}
        assert seen["unsigned"]["redacted_because"]["event_id"] == redaction


async def test_upgrade(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version, name="Old")
    await ben.join(room_id, via=ann)
    new_version = "11" if version == "10" else "12"
    upgraded = await ann.call("POST", f"/rooms/{esc(room_id)}/upgrade", {"new_version": new_version})
    new_id = upgraded["replacement_room"]
    await ben.sees_state(room_id, "m.room.tombstone", "", replacement_room=new_id)
    await ben.join(new_id, via=ann)
    assert (await ben.state(new_id, "m.room.create"))["predecessor"]["room_id"] == room_id
    await ann.sees_membership(new_id, ben, "join")


async def test_access_list(ann: Person, ben: Person, version: str) -> None:
    room_id, open_room_id = await ann.create_room(version), await ann.create_room(version)
    for joined in (room_id, open_room_id):
        await ben.join(joined, via=ann)
    host = ben.server_name.rpartition(":")[0]
    await ann.set_state(room_id, "m.room.server_acl", {"allow": ["*"], "deny": [host], "allow_ip_literals": True})
    await ben.sees_state(room_id, "m.room.server_acl", "", deny=[host])
    unheard = await ben.say(room_id, "can you hear me?")
    await ann.sees(open_room_id, await ben.say(open_room_id, "and here?"))
    status, _ = await ann.ask("GET", f"/rooms/{esc(room_id)}/event/{esc(unheard)}")
    assert status == 404
    await ann.set_state(room_id, "m.room.server_acl", {"allow": ["*"], "deny": [], "allow_ip_literals": True})
    await ben.sees_state(room_id, "m.room.server_acl", "", deny=[])
    await ann.sees(room_id, await ben.say(room_id, "now you can"))


async def test_many_messages_at_once(ann: Person, ben: Person) -> None:
    room_id = await ann.create_room("12")
    await ben.join(room_id, via=ann)
    events = await asyncio.gather(*(one.say(room_id, f"{number}") for number in range(30) for one in (ann, ben)))
    await ann.until(lambda: all(ann.find(room_id, event_id) for event_id in events))
    await ben.until(lambda: all(ben.find(room_id, event_id) for event_id in events))


def _state(event_type: str, **content: object) -> dict[str, object]:
    return {"type": event_type, "state_key": "", "content": content}
