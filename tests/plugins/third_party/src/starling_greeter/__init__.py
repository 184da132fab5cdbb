"""A plugin as a stranger would write it: greets newcomers, keeps order in rooms and names, counts messages.
It uses every hook that no bundled plugin uses, and nothing but the plugin seam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from homeserver.plugin_api import (
    Account,
    Auth,
    Event,
    EventDraft,
    JsonValue,
    LoginAttempt,
    PluginContext,
    RegistrationAttempt,
    Request,
    Requester,
    RoomRequest,
    RoomView,
    Section,
    SmsSender,
    endpoint,
    forbidden,
    hookimpl,
    invalid_param,
)


class GreeterSettings(Section):
    """What the greeter does."""

    bot: str = Field(default="greeter", description="The user name of the bot that greets.")
    greeting: str = Field(default="Welcome!", description="What it says.")
    banned_words: list[str] = Field(default=[], description="Words nobody may say or use in names.")


class Pigeons:
    """Sends SMS by pigeon: what they carry is left in the plugin's store."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    async def canonical_number(self, country: str, number: str) -> str:
        digits = "".join(character for character in number if character.isdigit())
        if country != "GB" or not digits.startswith("07"):
            raise invalid_param("Pigeons fly to British mobile telephones only.")
        return "44" + digits[1:]

    async def send(self, msisdn: str, text: str) -> None:
        if msisdn.endswith("666"):
            raise OSError("a hawk")
        await self._context.store.put(f"sms/{msisdn}", text)


class GreeterApi:
    """`GET /_greeter/count`: how many messages this server has seen since the plugin came."""

    def __init__(self, context: PluginContext) -> None:
        self._context = context

    @endpoint("GET", "/_greeter/count", auth=Auth.USER)
    async def get_count(self, request: Request, requester: Requester) -> JsonValue:
        return {"messages": await self._context.store.find("messages") or 0, "asked_by": requester.user_id}


class Plugin:
    """`greeter`."""

    Settings = GreeterSettings

    def __init__(self, context: PluginContext, settings: GreeterSettings) -> None:
        self._context = context
        self._settings = settings

    @property
    def _bot(self) -> str:
        return self._context.accounts.user_id_of(self._settings.bot)

    # Life

    @hookimpl
    async def on_start(self) -> None:
        if await self._context.accounts.find(self._bot) is None:
            await self._context.accounts.create(self._settings.bot, displayname="The greeter")
        await self._context.store.put("starts", (await self._context.store.find("starts") or 0) + 1)

    @hookimpl
    async def on_stop(self) -> None:
        await self._context.store.put("stopped", True)

    # Order

    @hookimpl
    async def check_event_allowed(self, draft: EventDraft, room: RoomView) -> dict[str, Any] | None:
        body = draft.content.get("body")
        if not isinstance(body, str) or draft.sender == self._bot:
            return None
        topic = await room.find_state("m.room.topic")
        if topic is not None and topic.content.get("topic") == "silence":
            raise forbidden("This room keeps silence.")
        cleaned = body
        for word in self._settings.banned_words:
            cleaned = cleaned.replace(word, "*" * len(word))
        return None if cleaned == body else {**draft.content, "body": cleaned}

    @hookimpl
    async def check_room_creation(self, request: RoomRequest) -> None:
        self._check_words(request.name or "")

    @hookimpl
    async def check_alias(self, alias: str) -> None:
        self._check_words(alias)

    @hookimpl
    async def check_publishing(self, user_id: str, room_id: str) -> None:
        room = await self._context.rooms.view(room_id)
        if await room.find_state("m.room.topic") is None:
            raise forbidden("A room without a topic is not published.")

    @hookimpl
    async def check_login(self, attempt: LoginAttempt) -> None:
        if await self._context.store.find(f"locked out/{attempt.user_id}"):
            raise forbidden("You are locked out.")

    @hookimpl
    async def check_registration(self, attempt: RegistrationAttempt) -> None:
        self._check_words(attempt.user_id)

    # Telephones

    @hookimpl
    def provide_sms_sender(self) -> SmsSender:
        return Pigeons(self._context)

    # News

    @hookimpl
    async def on_event(self, event: Event) -> None:
        if event.type == "m.room.message" and event.sender != self._bot:
            await self._context.store.put("messages", (await self._context.store.find("messages") or 0) + 1)

    @hookimpl
    async def on_account_created(self, account: Account) -> None:
        if account.user_id == self._bot or account.kind != "user":
            return
        room_id = await self._context.rooms.create(
            RoomRequest(self._bot, preset="trusted_private_chat", is_direct=True, invite=[account.user_id])
        )
        content = {"msgtype": "m.notice", "body": self._settings.greeting}
        await self._context.rooms.send(self._bot, room_id, "m.room.message", content)

    @hookimpl
    async def on_account_deactivated(self, user_id: str, erase: bool) -> None:
        await self._context.store.put(f"gone/{user_id}", {"erased": erase})

    # What the server says of itself

    @hookimpl
    def register_routes(self) -> Sequence[object]:
        return [GreeterApi(self._context)]

    @hookimpl
    def register_capabilities(self) -> Mapping[str, Mapping[str, Any]]:
        return {"org.example.greeter": {"enabled": True}}

    @hookimpl
    def register_unstable_features(self) -> Mapping[str, bool]:
        return {"org.example.greeter": True}

    @hookimpl
    def register_well_known(self) -> Mapping[str, Any]:
        return {"org.example.greeter": {"greets": True}}

    def _check_words(self, text: str) -> None:
        if any(word in text for word in self._settings.banned_words):
            raise forbidden("This word is not welcome here.")
