"""Encrypted conversations between devices that run matrix-nio."""

from __future__ import annotations

import asyncio
import io
import secrets

import pytest
from interop.nio_device import PASSWORD, Device, Devices, good
from nio import DeleteDevicesAuthResponse, EnableEncryptionBuilder, InviteMemberEvent, SyncError
from nio.crypto import Sas
from nio.crypto.attachments import decrypt_attachment
from nio.events import MegolmEvent, ReactionEvent, RedactionEvent, RoomMessageText
from nio.events.room_events import RoomEncryptedFile
from nio.events.to_device import KeyVerificationAccept, KeyVerificationKey, KeyVerificationMac, KeyVerificationStart
from server_process import ServerProcess


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


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The database that a test's parameter names; SQLite for those without."""
    named: str = getattr(request, "param", "sqlite")
    return request.getfixturevalue("fresh_postgres_url") if named == "postgres" else None


@pytest.mark.parametrize("database_url", ["sqlite", "postgres"], indirect=True)
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


async def test_files_are_encrypted_before_they_are_uploaded(devices: Devices) -> None:
    alice, bob = await asyncio.gather(devices.register("alice"), devices.register("bob"))
    room_id = await encrypted_room(alice, bob)
    await asyncio.gather(*(device.knows_room(room_id, alice, bob) for device in (alice, bob)))
    secret = secrets.token_bytes(300_000)
    uploaded, keys = await alice.client.upload(lambda *_: io.BytesIO(secret), "application/pdf", encrypt=True)
    file = {**keys, "url": good(uploaded).content_uri, "mimetype": "application/pdf"}
    await alice.send(room_id, {"msgtype": "m.file", "body": "will.pdf", "file": file})
    sent = await bob.event(RoomEncryptedFile)
    fetched = good(await bob.client.download(sent.url)).body
    assert fetched != secret
    assert decrypt_attachment(fetched, sent.key["k"], sent.hashes["sha256"], sent.iv) == secret


async def test_emoji_are_compared_by_messages_to_devices(devices: Devices) -> None:
    alice, bob = await asyncio.gather(devices.register("alice"), devices.register("bob"))
    room_id = await encrypted_room(alice, bob)
    await asyncio.gather(*(device.knows_room(room_id, alice, bob) for device in (alice, bob)))
    bobs = alice.client.device_store[bob.user_id][bob.device_id]
    alices = bob.client.device_store[alice.user_id][alice.device_id]

    good(await alice.client.start_key_verification(bobs))
    started = await bob.event(KeyVerificationStart)
    verification = started.transaction_id
    good(await bob.client.accept_key_verification(verification))
    await alice.event(KeyVerificationAccept)
    await asyncio.gather(*(device.event(KeyVerificationKey) for device in (alice, bob)))
    shown: list[Sas] = [device.client.key_verifications[verification] for device in (alice, bob)]
    await bob.until(lambda: all(sas.established_sas for sas in shown))
    assert shown[0].get_emoji() == shown[1].get_emoji()
    assert len(shown[0].get_emoji()) == 7
    for device in (alice, bob):
        good(await device.client.confirm_short_auth_string(verification))
    await asyncio.gather(*(device.event(KeyVerificationMac) for device in (alice, bob)))
    await alice.until(lambda: bobs.verified)
    await bob.until(lambda: alices.verified)

    # With all devices verified, the library sends without being told to trust anybody.
    good(await alice.client.room_send(room_id, "m.room.message", {"msgtype": "m.text", "body": "safe"}))
    assert (await bob.text("safe")).verified


async def test_a_client_goes_on_where_it_stopped(devices: Devices, server: ServerProcess) -> None:
    alice, bob = await asyncio.gather(devices.register("alice"), devices.register("bob"))
    room_id = await encrypted_room(alice, bob)
    await asyncio.gather(*(device.knows_room(room_id, alice, bob) for device in (alice, bob)))
    await alice.say(room_id, "before")
    await bob.text("before")
    await bob.stop()
    await alice.say(room_id, "meanwhile")
    bob = await devices.restart(bob)
    assert (await bob.text("meanwhile")).decrypted
    assert not [event for event in bob.seen if isinstance(event, RoomMessageText) and event.body == "before"]

    # The server too may stop, however it likes, and everybody goes on.
    await asyncio.gather(alice.stop(), bob.stop())
    server.kill()
    await server.start()
    alice, bob = await asyncio.gather(devices.restart(alice), devices.restart(bob))
    await alice.client.synced.wait()
    await alice.knows_room(room_id, alice, bob)
    await alice.say(room_id, "after")
    assert (await bob.text("after")).decrypted


async def test_devices_are_renamed_and_deleted(devices: Devices) -> None:
    alice, alice_phone, bob, bob_phone = people = await everybody(devices)
    room_id = await encrypted_room(alice, bob)
    await asyncio.gather(*(device.knows_room(room_id, *people) for device in people))
    good(await alice.client.update_device(alice_phone.device_id, {"display_name": "pocket"}))
    named = {device.id: device.display_name for device in good(await alice.client.devices()).devices}
    assert named == {alice.device_id: "alice's first", alice_phone.device_id: "pocket"}

    first = await alice.client.delete_devices([alice_phone.device_id])
    assert isinstance(first, DeleteDevicesAuthResponse)
    auth = {"type": "m.login.password", "session": first.session, "password": PASSWORD}
    auth["identifier"] = {"type": "m.id.user", "user": alice.user_id}
    good(await alice.client.delete_devices([alice_phone.device_id], auth))
    await bob.until(lambda: alice_phone.device_id not in _active(bob, alice.user_id))
    await alice_phone.event(SyncError)
    await alice_phone.pause()
    refused = await alice_phone.client.whoami()
    assert (refused.status_code, getattr(refused, "soft_logout", False)) == ("M_UNKNOWN_TOKEN", False)

    await bob_phone.pause()
    good(await bob_phone.client.logout())
    await alice.until(lambda: bob_phone.device_id not in _active(alice, bob.user_id))
    await bob.say(room_id, "only the two of us")
    assert (await alice.text("only the two of us")).decrypted


def _active(device: Device, user_id: str) -> set[str]:
    return {known.id for known in device.client.device_store.active_user_devices(user_id)}
