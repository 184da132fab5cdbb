"""What matrix-nio sees of rooms, of the people in them and of accounts, without encryption."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from interop.nio_device import PASSWORD, Device, Devices, good
from nio import ErrorResponse, InviteMemberEvent, LoginError, RoomGetEventError, RoomVisibility, SyncResponse
from nio.api import RelationshipType, ResizingMethod
from nio.events import RedactedEvent, RoomMemberEvent, RoomUpgradeEvent
from nio.events.account_data import FullyReadEvent
from nio.events.ephemeral import ReceiptEvent, TypingNoticeEvent
from nio.events.presence import PresenceEvent
from nio.events.room_events import RoomMessageImage
from PIL import Image


async def two_in_a_room(devices: Devices, **wanted: Any) -> tuple[Device, Device, str]:
    """Alice and Bob, in a room that Alice has made."""
    alice, bob = await asyncio.gather(devices.register("alice"), devices.register("bob"))
    room_id = str(good(await alice.client.room_create(name="Garden", invite=[bob.user_id], **wanted)).room_id)
    invite = await bob.event(InviteMemberEvent, lambda event: event.state_key == bob.user_id)
    assert (invite.sender, bob.client.invited_rooms[room_id].name) == (alice.user_id, "Garden")
    good(await bob.client.join(room_id))
    await asyncio.gather(*(device.knows_room(room_id, alice, bob) for device in (alice, bob)))
    return alice, bob, room_id


async def test_accounts(guests: Devices) -> None:
    alice = await guests.register("alice")
    taken = await alice.client.register(alice.client.user, PASSWORD)
    assert isinstance(taken, ErrorResponse)
    assert taken.status_code == "M_USER_IN_USE"
    flows = good(await alice.client.login_info()).flows
    assert "m.login.password" in flows
    wrong = await guests.stranger("alice").client.login("not the password")
    assert isinstance(wrong, LoginError)
    assert wrong.status_code == "M_FORBIDDEN"
    who = good(await alice.client.whoami())
    assert (who.user_id, who.device_id, who.is_guest) == (alice.user_id, alice.device_id, False)
    good(await alice.client.set_displayname("Alice in Wonderland"))
    good(await alice.client.set_avatar("mxc://localhost/abcdef"))
    profile = good(await alice.client.get_profile())
    assert (profile.displayname, profile.avatar_url) == ("Alice in Wonderland", "mxc://localhost/abcdef")
    assert good(await alice.client.get_openid_token(alice.user_id)).matrix_server_name == "localhost"


async def test_people_notice_each_other(guests: Devices) -> None:
    alice, bob, room_id = await two_in_a_room(guests)
    event_id = await alice.say(room_id, "hello")
    await bob.text("hello")

    good(await bob.client.room_typing(room_id, typing_state=True, timeout=20_000))
    await alice.event(TypingNoticeEvent, lambda event: event.users == [bob.user_id])
    good(await bob.client.room_typing(room_id, typing_state=False))
    await alice.until(lambda: alice.client.rooms[room_id].typing_users == [])

    assert bob.client.rooms[room_id].unread_notifications == 1
    good(await bob.client.update_receipt_marker(room_id, event_id))
    receipt = await alice.event(ReceiptEvent)
    assert [(read.event_id, read.user_id) for read in receipt.receipts] == [(event_id, bob.user_id)]
    await bob.until(lambda: bob.client.rooms[room_id].unread_notifications == 0)
    good(await bob.client.room_read_markers(room_id, fully_read_event=event_id))
    assert (await bob.event(FullyReadEvent)).event_id == event_id

    await bob.pause()  # who asks for news is online
    good(await bob.client.set_presence("unavailable", "in the garden"))
    seen = await alice.event(PresenceEvent, lambda event: event.status_msg == "in the garden")
    assert (seen.user_id, seen.presence) == (bob.user_id, "unavailable")
    assert good(await alice.client.get_presence(bob.user_id)).status_msg == "in the garden"

    bob.start()
    good(await bob.client.set_displayname("Bobby"))
    await alice.event(RoomMemberEvent, lambda event: event.content.get("displayname") == "Bobby")
    assert alice.client.rooms[room_id].user_name(bob.user_id) == "Bobby"


async def test_relations(guests: Devices) -> None:
    alice, bob, room_id = await two_in_a_room(guests)
    root = await alice.say(room_id, "teh root")
    edit = {"msgtype": "m.text", "body": "* the root", "m.new_content": {"msgtype": "m.text", "body": "the root"}}
    await alice.send(room_id, {**edit, "m.relates_to": {"rel_type": "m.replace", "event_id": root}})
    in_thread = {"rel_type": "m.thread", "event_id": root}
    replies = [
        await bob.send(room_id, {"msgtype": "m.text", "body": f"reply {number}", "m.relates_to": in_thread})
        for number in range(3)
    ]
    await bob.send(room_id, {"m.relates_to": {"rel_type": "m.annotation", "event_id": root, "key": "🌱"}}, "m.reaction")
    await alice.text("reply 2")
    related = [
        event.event_id
        async for event in alice.client.room_get_event_relations(room_id, root, RelationshipType.thread, limit=2)
    ]
    assert related == replies[::-1]
    (thread,) = [event async for event in alice.client.room_get_threads(room_id)]
    bundled = thread.source["unsigned"]["m.relations"]
    assert bundled["m.thread"]["count"] == 3
    assert bundled["m.thread"]["latest_event"]["event_id"] == replies[-1]
    assert bundled["m.replace"]["content"]["m.new_content"]["body"] == "the root"

    good(await alice.client.room_redact(room_id, root))
    await bob.until(lambda: any(event.source.get("redacts") == root for event in bob.seen if hasattr(event, "source")))
    assert isinstance(good(await bob.client.room_get_event(room_id, root)).event, RedactedEvent)
    missing = await bob.client.room_get_event(room_id, "$nothing")
    assert isinstance(missing, RoomGetEventError)
    assert missing.status_code == "M_NOT_FOUND"


async def test_history_is_read_in_both_directions(guests: Devices) -> None:
    alice, bob, room_id = await two_in_a_room(guests)
    for number in range(7):
        await alice.say(room_id, str(number))
    await bob.text("6")
    backwards: list[str] = []
    start = ""
    while page := good(await bob.client.room_messages(room_id, start, limit=3)):
        backwards += [event.body for event in page.chunk if hasattr(event, "body")]
        if page.end is None:
            break
        start = page.end
    assert backwards == ["6", "5", "4", "3", "2", "1", "0"]
    third = next(event for event in bob.seen if getattr(event, "body", None) == "3")
    context = good(await bob.client.room_context(room_id, third.event_id, limit=2))
    assert [event.body for event in (*context.events_before, context.event, *context.events_after)] == ["2", "3", "4"]


async def test_members_follow_an_upgraded_room(guests: Devices) -> None:
    alice, bob, room_id = await two_in_a_room(guests, room_version="10")
    good(await alice.client.room_put_alias("#garden:localhost", room_id))
    upgraded = good(await alice.client.room_upgrade(room_id, "11"))
    tombstone = await bob.event(RoomUpgradeEvent)
    assert tombstone.replacement_room == upgraded.room_id
    created = good(await alice.client.room_get_state_event(upgraded.room_id, "m.room.create"))
    assert created.content["predecessor"]["room_id"] == room_id
    good(await alice.client.room_invite(upgraded.room_id, bob.user_id))
    good(await bob.client.join(tombstone.replacement_room))
    await bob.knows_room(upgraded.room_id, alice, bob)
    assert bob.client.rooms[upgraded.room_id].name == "Garden"
    await bob.say(upgraded.room_id, "nice and new")
    await alice.text("nice and new")


async def test_public_rooms_and_moderation(guests: Devices) -> None:
    alice, bob, room_id = await two_in_a_room(guests)
    carol = await guests.register("carol")
    square = good(await alice.client.room_create(RoomVisibility.public, alias="square", name="Square")).room_id
    good(await alice.client.room_put_state(square, "m.room.join_rules", {"join_rule": "public"}))
    listed = good(await carol.client.list_public_rooms())
    assert [(room.room_id, room.name) for room in listed.public_rooms] == [(square, "Square")]
    assert good(await carol.client.room_resolve_alias("#square:localhost")).room_id == square
    good(await carol.client.join("#square:localhost"))
    await carol.knows_room(square, alice, carol)
    good(await alice.client.room_ban(square, carol.user_id, "for the test"))
    banned = await alice.event(RoomMemberEvent, lambda event: event.membership == "ban")
    assert (banned.state_key, banned.content["reason"]) == (carol.user_id, "for the test")
    await carol.event(SyncResponse, lambda response: square in response.rooms.leave)
    refused = await carol.client.join(square)
    assert refused.status_code == "M_FORBIDDEN"
    good(await alice.client.room_unban(square, carol.user_id))
    good(await carol.client.join(square))

    good(await bob.client.room_leave(room_id))
    good(await bob.client.room_forget(room_id))
    assert room_id not in good(await bob.client.joined_rooms()).rooms

    space = good(await alice.client.room_create(name="Town", space=True)).room_id
    good(await alice.client.room_put_state(space, "m.space.child", {"via": ["localhost"]}, square))
    hierarchy = good(await alice.client.space_get_hierarchy(space))
    assert {room["room_id"] for room in hierarchy.rooms} == {space, square}


async def test_pictures_and_their_thumbnails(guests: Devices) -> None:
    alice, bob, room_id = await two_in_a_room(guests)
    picture = png(640, 480)
    uploaded, keys = await alice.client.upload(lambda *_: io.BytesIO(picture), "image/png", "garden.png")
    uri = str(good(uploaded).content_uri)
    assert keys is None
    await alice.send(
        room_id, {"msgtype": "m.image", "body": "garden.png", "url": uri, "info": {"mimetype": "image/png"}}
    )
    shown = await bob.event(RoomMessageImage)
    fetched = good(await bob.client.download(shown.url))
    assert (fetched.body, fetched.content_type, fetched.filename) == (picture, "image/png", "garden.png")
    server_name, media_id = uri.removeprefix("mxc://").split("/")
    thumbnail = good(await bob.client.thumbnail(server_name, media_id, 96, 96, ResizingMethod.crop))
    assert Image.open(io.BytesIO(thumbnail.body)).size == (96, 96)
    missing = await bob.client.download(f"mxc://{server_name}/nothing-like-it")
    assert missing.status_code == "M_NOT_FOUND"
    limit = good(await bob.client.content_repository_config()).upload_size
    assert limit >= len(picture)


def png(width: int, height: int) -> bytes:
    """A picture with a colour gradient."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()
