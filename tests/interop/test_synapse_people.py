"""What people on Starling and on a real Synapse know of each other outside a room's events, seen from either side."""

from __future__ import annotations

import hashlib
from typing import Any

from interop.people import Person, Side, esc, eventually
from pictures import encoded, gradient


async def test_room_directory(ann: Person, ben: Person, version: str) -> None:
    name = f"Listed {ann.user_id}"
    room_id = await ann.create_room(version, visibility="public", name=name, topic="for all")
    searched = await ben.call(
        "POST", "/publicRooms", {"filter": {"generic_search_term": name}, "limit": 5}, server=ann.server_name
    )
    assert [(room["room_id"], room["topic"]) for room in searched["chunk"]] == [(room_id, "for all")]


async def test_space_hierarchy(ann: Person, ben: Person, version: str) -> None:
    space_id = await ann.create_room(version, name="Space", creation_content={"type": "m.space"})
    child_id = await ann.create_room(version, name="Child")
    hidden_id = await ann.create_room(version, preset="private_chat", name="Hidden")
    for room_id in (child_id, hidden_id):
        await ann.set_state(space_id, "m.space.child", {"via": [ann.server_name]}, room_id)
    # A room on the other side in a space on this side, and the space in one of theirs.
    outer_id = await ben.create_room(version, name="Outer", creation_content={"type": "m.space"})
    await ben.set_state(outer_id, "m.space.child", {"via": [ann.server_name]}, space_id)
    tree = await ben.call("GET", f"/v1/rooms/{esc(outer_id)}/hierarchy")
    assert [room["room_id"] for room in tree["rooms"]] == [outer_id, space_id, child_id]
    assert [room["name"] for room in tree["rooms"]] == ["Outer", "Space", "Child"]


async def test_room_summary(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version, name="Summed up", topic="in short")
    status, summary = await ben.ask("GET", f"/v1/room_summary/{esc(room_id)}", via=ann.server_name)
    if status == 404 and summary["errcode"] == "M_UNRECOGNIZED":
        path = f"/unstable/im.nheko.summary/summary/{esc(room_id)}"
        summary = await ben.call("GET", path, via=ann.server_name)
    assert (summary["name"], summary["topic"], summary["num_joined_members"]) == ("Summed up", "in short", 1)


async def test_event_at_a_time(ann: Person, ben: Person, version: str) -> None:
    room_id = await ann.create_room(version)
    first = await ann.say(room_id, "first")
    told = await ann.call("GET", f"/rooms/{esc(room_id)}/event/{esc(first)}")
    await ann.say(room_id, "second")
    await ben.join(room_id, via=ann)
    path = f"/v1/rooms/{esc(room_id)}/timestamp_to_event"
    found = await ben.call("GET", path, ts=str(told["origin_server_ts"]), dir="f")
    assert found["event_id"] == first


async def test_profiles(ann: Person, ben: Person) -> None:
    await ann.call("PUT", f"/profile/{esc(ann.user_id)}/displayname", {"displayname": "Ann"})
    profile = await ben.call("GET", f"/profile/{esc(ann.user_id)}")
    assert profile["displayname"] == "Ann"
    room_id = await ann.create_room("11")
    await ben.join(room_id, via=ann)
    await ben.sees_state(room_id, "m.room.member", ann.user_id, displayname="Ann")
    await ann.call("PUT", f"/profile/{esc(ann.user_id)}/displayname", {"displayname": "Anna"})
    await ben.sees_state(room_id, "m.room.member", ann.user_id, displayname="Anna")
    status, answer = await ben.ask("GET", f"/profile/{esc('@nobody:' + ann.server_name)}")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


async def test_typing_receipts_and_presence(ann: Person, ben: Person) -> None:
    room_id = await ann.create_room("11")
    await ben.join(room_id, via=ann)
    await ann.sees_membership(room_id, ben, "join")
    await ben.call("PUT", f"/rooms/{esc(room_id)}/typing/{esc(ben.user_id)}", {"typing": True, "timeout": 20_000})
    await ann.until(lambda: any(ben.user_id in one["user_ids"] for one in _ephemeral(ann, room_id, "m.typing")))
    await ben.call("PUT", f"/rooms/{esc(room_id)}/typing/{esc(ben.user_id)}", {"typing": False})
    await ann.until(lambda: _ephemeral(ann, room_id, "m.typing")[-1]["user_ids"] == [])
    event_id = await ann.say(room_id, "read this")
    await ben.sees(room_id, event_id)
    await ben.call("POST", f"/rooms/{esc(room_id)}/receipt/m.read/{esc(event_id)}", {})
    await ann.until(
        lambda: any(
            ben.user_id in one.get(event_id, {}).get("m.read", {}) for one in _ephemeral(ann, room_id, "m.receipt")
        )
    )
    await ben.call("PUT", f"/presence/{esc(ben.user_id)}/status", {"presence": "online", "status_msg": "here"})
    await ann.until(
        lambda: any(one["sender"] == ben.user_id and one["content"].get("status_msg") == "here" for one in ann.presence)
    )


async def test_threaded_receipt(ann: Person, ben: Person) -> None:
    room_id = await ann.create_room("11")
    await ben.join(room_id, via=ann)
    root = await ann.say(room_id, "root")
    answer = {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    event_id = await ann.send(room_id, "m.room.message", answer)
    await ben.sees(room_id, event_id)
    await ben.call("POST", f"/rooms/{esc(room_id)}/receipt/m.read/{esc(event_id)}", {"thread_id": root})

    def read_in_thread() -> bool:
        receipts = [one.get(event_id, {}).get("m.read", {}) for one in _ephemeral(ann, room_id, "m.receipt")]
        return any(one.get(ben.user_id, {}).get("thread_id") == root for one in receipts)

    await ann.until(read_in_thread)


async def test_devices_keys_and_messages_to_devices(ann: Person, ben: Person) -> None:
    room_id = await ann.create_room("11")
    await ben.join(room_id, via=ann)
    await ann.sees_membership(room_id, ben, "join")
    await ben.sync()
    device_id = (await ann.call("GET", "/account/whoami"))["device_id"]
    await ann.call("POST", "/keys/upload", _keys(ann.user_id, device_id))
    await ben.until(lambda: ann.user_id in ben.changed_devices)

    async def knows_the_keys() -> bool:
        queried = await ben.call("POST", "/keys/query", {"device_keys": {ann.user_id: []}})
        device = queried["device_keys"].get(ann.user_id, {}).get(device_id)
        return device is not None and device["keys"] == {f"ed25519:{device_id}": "ed", f"curve25519:{device_id}": "c"}

    await eventually(knows_the_keys)
    claim = {"one_time_keys": {ann.user_id: {device_id: "signed_curve25519"}}}
    for expected in ({"signed_curve25519:AAA"}, {"signed_curve25519:FALL"}):
        claimed = await ben.call("POST", "/keys/claim", claim)
        assert set(claimed["one_time_keys"][ann.user_id][device_id]) == expected
    await ben.call(
        "PUT", f"/sendToDevice/org.example.test/{ben.user_id}", {"messages": {ann.user_id: {device_id: {"a": 1}}}}
    )
    message = await ann.until(lambda: next(iter(ann.to_device), None))
    assert (message["type"], message["sender"], message["content"]) == ("org.example.test", ben.user_id, {"a": 1})
    await ben.call("PUT", f"/sendToDevice/org.example.test/{ben.user_id}x", {"messages": {ann.user_id: {"*": {}}}})
    await ann.until(lambda: len(ann.to_device) == 2)


async def test_cross_signing_keys(ann: Person, ben: Person) -> None:
    room_id = await ann.create_room("11")
    await ben.join(room_id, via=ann)
    await ann.sees_membership(room_id, ben, "join")
    await ben.sync()
    path, who = "/keys/device_signing/upload", {"type": "m.id.user", "user": ann.user_id}
    master = {"user_id": ann.user_id, "usage": ["master"], "keys": {f"ed25519:{_MASTER}": _MASTER}}
    status, asked = await ann.ask("POST", path, {"master_key": master})
    if status == 401:
        auth = {
            "type": "m.login.password",
            "identifier": who,
            "password": "a password",
            "session": asked["session"],
        }
        await ann.call("POST", path, {"master_key": master, "auth": {**auth, "session": asked["session"]}})

    async def knows_the_key() -> bool:
        queried = await ben.call("POST", "/keys/query", {"device_keys": {ann.user_id: []}})
        return bool(queried.get("master_keys", {}).get(ann.user_id, {}).get("keys") == master["keys"])

    await ben.until(lambda: ann.user_id in ben.changed_devices)
    await eventually(knows_the_key)


async def test_media(ann: Person, ben: Person, guest: Side) -> None:
    picture = encoded(gradient(64, 48), "PNG")
    async with ann.client.session.post(
        f"{ann.client.server}/_matrix/media/v3/upload",
        data=picture,
        params={"filename": "picture.png"},
        headers={"Authorization": f"Bearer {ann.client.token}", "Content-Type": "image/png"},
    ) as answer:
        uri = (await answer.json())["content_uri"]
    path = uri.removeprefix("mxc://")
    base = f"{ben.client.server}/_matrix/client/v1/media"
    headers = {"Authorization": f"Bearer {ben.client.token}"}
    async with ben.client.session.get(f"{base}/download/{path}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "image/png"
        assert "picture.png" in answer.headers["Content-Disposition"]
        assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(picture).digest()
    query = {"width": "32", "height": "32", "method": "scale"}
    async with ben.client.session.get(f"{base}/thumbnail/{path}", headers=headers, params=query) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("image/")


_MASTER = "nqOvzeuGWT/sRx3h7+MHoInYj3Uk2LD/unI9kDYcHwk"


def _ephemeral(person: Person, room_id: str, kind: str) -> list[Any]:
    return [event["content"] for event in person.ephemeral[room_id] if event["type"] == kind]


def _keys(user_id: str, device_id: str) -> dict[str, Any]:
    signatures = {user_id: {f"ed25519:{device_id}": "signature"}}
    return {
        "device_keys": {
            "user_id": user_id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {f"ed25519:{device_id}": "ed", f"curve25519:{device_id}": "c"},
            "signatures": signatures,
        },
        "one_time_keys": {"signed_curve25519:AAA": {"key": "one", "signatures": signatures}},
        "fallback_keys": {"signed_curve25519:FALL": {"key": "fall", "fallback": True, "signatures": signatures}},
    }
