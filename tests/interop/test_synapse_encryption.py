"""An encrypted conversation between users of Starling and of a real Synapse, with matrix-nio on both sides."""

from __future__ import annotations

import asyncio
from pathlib import Path

from interop.nio_device import Devices
from interop.people import Side
from interop.test_nio_encryption import encrypted_room


async def test_an_encrypted_conversation(host: Side, guest: Side, tmp_path: Path) -> None:
    suffix = "-synapse" if host.is_synapse else "-starling"
    here = Devices(host.process.url, tmp_path / "here", suffix)
    there = Devices(guest.process.url, tmp_path / "there", suffix)
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    try:
        alice, bob = await asyncio.gather(here.register("alice"), there.register("bob"))
        room_id = await encrypted_room(alice, bob)
        await asyncio.gather(*(device.knows_room(room_id, alice, bob) for device in (alice, bob)))
        for speaker, listener in ((alice, bob), (bob, alice)):
            await speaker.say(room_id, f"a secret of {speaker.user_id}")
            event = await listener.text(f"a secret of {speaker.user_id}")
            assert event.decrypted
            assert event.sender == speaker.user_id
        # One more device of one of them gets the keys of what is said from now on.
        phone = await there.log_in("bob")
        await alice.knows_room(room_id, alice, bob, phone)
        await alice.say(room_id, "to all devices")
        assert (await phone.text("to all devices")).decrypted
    finally:
        await asyncio.gather(here.close(), there.close())
