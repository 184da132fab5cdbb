"""A bridge on mautrix-python: it echoes what it hears through a puppet, and tells on standard output what it got.

Arguments: the server's URL and the port to listen on. Runs in the environment of requirements.txt.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from mautrix.appservice import AppService, ASStateStore
from mautrix.client.state_store.memory import MemoryStateStore
from mautrix.types import EventType, Membership


class Memory(ASStateStore, MemoryStateStore):
    """What the library remembers, for as long as it runs."""

    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)


def tell(kind: str, **details: Any) -> None:
    print(json.dumps({"kind": kind, **details}), flush=True)


async def main(url: str, port: int) -> None:
    logging.basicConfig(level=logging.INFO)
    service = AppService(
        url,
        "localhost",
        "as",
        "hs",
        "mbot",
        "mautrix",
        state_store=Memory(),
        ephemeral_events=True,
        encryption_events=True,
    )
    puppet_id = "@m_puppet:localhost"

    @service.matrix_event_handler
    async def on_event(event: Any) -> None:
        sender, room_id = getattr(event, "sender", None), getattr(event, "room_id", None)
        tell("event", type=str(event.type), sender=sender, room_id=room_id)
        is_invite = event.type == EventType.ROOM_MEMBER and event.content.membership == Membership.INVITE
        if is_invite and event.state_key == service.bot_mxid:
            await service.intent.ensure_joined(event.room_id)
            puppet = service.intent.user(puppet_id)
            await puppet.set_displayname("Puppet")
            await puppet.ensure_joined(event.room_id)
            await puppet.set_typing(event.room_id, timeout=10_000)
        if event.type == EventType.ROOM_MESSAGE and not event.sender.startswith("@m"):
            puppet = service.intent.user(puppet_id)
            await puppet.mark_read(event.room_id, event.event_id)
            await puppet.send_text(event.room_id, f"echo: {event.content.body}", timestamp=1_234_567_890_000)

    async def on_to_device(event: Any) -> None:
        tell("to_device", sender=event.sender, content=event.content.serialize(), device=event.to_device_id)

    async def on_otk(counts: Any) -> None:
        tell("otk", users={user: list(devices) for user, devices in counts.items()})

    service.to_device_handler = on_to_device
    service.otk_handler = on_otk
    await service.start("127.0.0.1", port)
    await service.intent.ensure_registered()
    tell("whoami", user_id=(await service.intent.whoami()).user_id)
    tell("ping", duration_ms=await service.ping_self("hello"))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
