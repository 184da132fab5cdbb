"""Encrypted conversations between devices that run matrix-nio."""

from __future__ import annotations

import asyncio

import pytest
from interop.nio_device import Device, Devices, good
from nio import EnableEncryptionBuilder, InviteMemberEvent
from nio.events import MegolmEvent, ReactionEvent, RedactionEvent

DATABASES = ["sqlite", "postgres"]


async def encrypted_room(owner: Device, *guests: Device) -> str:
    """A private encrypted room to which one device of each guest has accepted an invite."""
    encryption = EnableEncryptionBuilder().as_dict()
    room = good(await owner.client.room_create(name="Secret", initial_state=[encryption]))
    room_id = str(room.room_id)
    for guest in guests:
        good(await owner.client.room_invite(room_id, guest.user_id))
        await guest.event(InviteMemberEvent, lambda event: event.membership == "invite")
        good(await guest.client.join(room_id))
    return room_id


async def everybody(devices: Devices) -> tuple[Device, Device, Device, Device]:
    """Alice and Bob with two devices each."""
    alice, bob = await asyncio.gather(devices.register("alice"), devices.register("bob"))
    alice_phone, bob_phone = await asyncio.gather(devices.log_in("alice"), devices.log_in("bob"))
    return alice, alice_phone, bob, bob_phone


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("fresh_postgres_url") if request.param == "postgres" else None


async def test_a_conversation_on_all_devices(devices: Devices) -> None:
    alice, alice_phone, bob, bob_phone = people = await everybody(devices)
    room_id = await encrypted_room(alice, bob)
    await asyncio.gather(*(device.knows_room(room_id, *people) for device in people))
    for number, speaker in enumerate(people):
        await speaker.say(room_id, f"words {number}")
        for listener in people:
            event = await listener.text(f"words {number}")
            assert event.sender == speaker.user_id
            assert event.decrypted

    # Relations of encrypted events: their outer part is what the server sees.
    question = (await bob.text("words 0")).event_id
    relation = {"rel_type": "m.replace", "event_id": question}
    edit = {"msgtype": "m.text", "body": "* better", "m.new_content": {"msgtype": "m.text", "body": "better"}}
    await alice.send(room_id, {**edit, "m.relates_to": relation})
    assert (await bob_phone.text("* better")).source["content"]["m.relates_to"] == relation
    annotation = {"rel_type": "m.annotation", "event_id": question, "key": "👍"}
    await bob.send(room_id, {"m.relates_to": annotation}, "m.reaction")
    await alice_phone.event(ReactionEvent, lambda event: event.key == "👍" and event.reacts_to == question)
    good(await alice.client.room_redact(room_id, question, "a slip"))
    redaction = await bob_phone.event(RedactionEvent)
    assert (redaction.redacts, redaction.reason) == (question, "a slip")
    gone = good(await bob.client.room_get_event(room_id, question)).event
    assert gone.redacter == alice.user_id
    related = [event async for event in bob.client.room_get_event_relations(room_id, question)]
    assert {event.source["type"] for event in related} <= {"m.room.encrypted", "m.reaction"}

    # A device that comes later reads on from there, and is told of by the others' servers at once.
    tablet = await devices.log_in("bob")
    await asyncio.gather(*(device.knows_room(room_id, *people, tablet) for device in (*people, tablet)))
    await alice.say(room_id, "welcome, tablet")
    assert (await tablet.text("welcome, tablet")).decrypted
    assert any(isinstance(event, MegolmEvent) for event in tablet.seen)  # what was said before it came
