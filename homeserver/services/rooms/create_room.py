"""Creates rooms: presets, initial state, invitations.

Spec: client-server-api #creation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection

from homeserver.protocol.errors import MatrixError, bad_json, invalid_param
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import StateKey
from homeserver.protocol.identifiers import is_room_alias, is_user_id, server_name_of
from homeserver.protocol.room_versions import RoomVersion, get_room_version
from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver.services.rooms.append_event import AppendEvent
from homeserver.services.rooms.membership import MembershipService, ProfileSource
from homeserver.storage.database import Database, Transaction
from homeserver.storage.room_summaries import publish_room
from homeserver.storage.rooms import add_alias, find_alias
from homeserver_config.sections.rooms import RoomSettings

_DEFAULT_EVENT_LEVELS = {
    "m.room.avatar": 50,
    "m.room.canonical_alias": 50,
    "m.room.encryption": 100,
    "m.room.history_visibility": 100,
    "m.room.name": 50,
    "m.room.power_levels": 100,
    "m.room.server_acl": 100,
    "m.room.tombstone": 100,
}
_TOMBSTONE_LEVEL_BELOW_CREATORS = 150
_CREATOR_LEVEL = 100
_ENCRYPTION = "m.megolm.v1.aes-sha2"


@dataclass(frozen=True, slots=True)
class Preset:
    """What a preset sets. Spec: client-server-api #post_matrixclientv3createroom"""

    join_rule: str
    history_visibility: str
    guest_access: str
    invitees_are_equal: bool = False


PRESETS: Mapping[str, Preset] = {
    "private_chat": Preset("invite", "shared", "can_join"),
    "trusted_private_chat": Preset("invite", "shared", "can_join", invitees_are_equal=True),
    "public_chat": Preset("public", "shared", "forbidden"),
}


@dataclass(frozen=True, slots=True)
class NewRoom:
    """What a user asks for. `alias_localpart` is the part of the alias between # and the server name."""

    version: str | None = None
    preset: str | None = None
    public: bool = False
    name: str | None = None
    topic: str | None = None
    alias_localpart: str | None = None
    invite: Sequence[str] = ()
    ban: Sequence[str] = ()
    is_direct: bool = False
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Sequence[Mapping[str, Any]] = ()
    power_level_override: Mapping[str, Any] | None = None


class CreationGate(Protocol):
    """What plugins have to say of a room before it is made."""

    async def check_room_creation(self, user_id: str, room: NewRoom) -> None:
        """Raises MatrixError to refuse it."""


class CreateRoom:
    """The use case behind `POST /createRoom`, and the maker of the new room in an upgrade."""

    def __init__(
        self,
        database: Database,
        append: AppendEvent,
        membership: MembershipService,
        profiles: ProfileSource,
        gate: CreationGate,
        clock: Clock,
        randomness: Randomness,
        server_name: str,
        settings: RoomSettings,
    ) -> None:
        self._database = database
        self._append = append
        self._membership = membership
        self._profiles = profiles
        self._gate = gate
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._settings = settings

    async def create(self, creator: str, wanted: NewRoom) -> str:
        """Make a room and return its id.

        Raises M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE, M_INVALID_ROOM_STATE, M_INVALID_PARAM, M_BAD_JSON.
        """
        version = get_room_version(wanted.version or self._settings.default_room_version)
        for user_id in wanted.invite:
            if not is_user_id(user_id):
                raise invalid_param(f"{user_id!r} is not a user id.")
        alias = await self._free_alias(wanted.alias_localpart)
        await self._gate.check_room_creation(creator, wanted)
        drafts = await self._drafts(creator, wanted, version, alias)
        room_id = None
        if not version.event_format.room_id_is_create_hash:
            room_id = f"!{self._randomness.room_localpart()}:{self._server_name}"
        room_id = await self._write(creator, version, room_id, drafts, alias, wanted.public)
        for user_id in wanted.invite:
            if server_name_of(user_id) != self._server_name:
                extra = {"is_direct": True} if wanted.is_direct else {}
                await self._membership.invite(creator, room_id, user_id, extra=extra)
        return room_id

    async def _write(
        self,
        creator: str,
        version: RoomVersion,
        room_id: str | None,
        drafts: Sequence[EventDraft],
        alias: str | None,
        public: bool,
    ) -> str:
        now_ms = self._clock.now_ms()

        def name_and_publish(tx: Transaction, made: str) -> None:
            if alias is not None and not add_alias(tx, alias, made, creator, now_ms):
                raise _alias_taken(alias)
            if public:
                publish_room(tx, made, True)

        try:
            return await self._append.create(version, room_id, drafts, name_and_publish)
        except MatrixError as error:
            if error.errcode != "M_FORBIDDEN":
                raise
            sentence = f"The room would not allow its own first events: {error.sentence}"
            raise MatrixError("M_INVALID_ROOM_STATE", sentence, 400) from error

    async def _free_alias(self, localpart: str | None) -> str | None:
        if localpart is None:
            return None
        alias = f"#{localpart}:{self._server_name}"
        if not localpart or ":" in localpart or not is_room_alias(alias):
            raise invalid_param(f"{alias!r} cannot be a room alias.")
        if await self._database.read(_is_taken, alias):
            raise _alias_taken(alias)
        return alias

    async def _drafts(self, creator: str, wanted: NewRoom, version: RoomVersion, alias: str | None) -> list[EventDraft]:
        """All first events of the room, in the order the specification gives."""
        name = wanted.preset or ("public_chat" if wanted.public else "private_chat")
        preset = PRESETS.get(name)
        if preset is None:
            raise invalid_param(f"There is no preset {name!r}.")
        drafts = _Drafts(creator)
        drafts.add("m.room.create", self._create_content(creator, wanted, version, preset))
        drafts.add("m.room.member", await self._member_content(creator, "join"), creator)
        drafts.add("m.room.power_levels", self._power_levels(creator, wanted, version, preset))
        if alias is not None:
            drafts.add("m.room.canonical_alias", {"alias": alias})
        drafts.add("m.room.join_rules", {"join_rule": preset.join_rule})
        drafts.add("m.room.history_visibility", {"history_visibility": preset.history_visibility})
        if preset.guest_access != "forbidden":
            drafts.add("m.room.guest_access", {"guest_access": preset.guest_access})
        if name in self._settings.encrypt_presets:
            drafts.add("m.room.encryption", {"algorithm": _ENCRYPTION})
        for event in wanted.initial_state:
            drafts.add_given(event)
        if wanted.name is not None:
            drafts.add("m.room.name", {"name": wanted.name})
        if wanted.topic is not None:
            drafts.add("m.room.topic", topic_content(wanted.topic))
        for user_id in dict.fromkeys(wanted.invite):
            if server_name_of(user_id) == self._server_name and user_id != creator:
                content = await self._member_content(user_id, "invite")
                drafts.add("m.room.member", {**content, "is_direct": True} if wanted.is_direct else content, user_id)
        for user_id in wanted.ban:
            drafts.add("m.room.member", {"membership": "ban"}, user_id)
        return drafts.in_order()

    def _create_content(self, creator: str, wanted: NewRoom, version: RoomVersion, preset: Preset) -> dict[str, Any]:
        content = {
            key: value for key, value in wanted.creation_content.items() if key not in {"creator", "room_version"}
        }
        content["room_version"] = version.identifier
        if version.auth.creator_in_content:
            content["creator"] = creator
        if version.auth.creators_have_infinite_power and preset.invitees_are_equal and wanted.invite:
            given = content.get("additional_creators", [])
            if not isinstance(given, list):
                raise bad_json("`additional_creators` must be a list of user ids.")
            invited = [user_id for user_id in wanted.invite if user_id != creator]
            content["additional_creators"] = list(dict.fromkeys([*given, *invited]))
        return content

    def _power_levels(self, creator: str, wanted: NewRoom, version: RoomVersion, preset: Preset) -> dict[str, Any]:
        infinite = version.auth.creators_have_infinite_power
        events = dict(_DEFAULT_EVENT_LEVELS)
        users = {} if infinite else {creator: _CREATOR_LEVEL}
        if infinite:
            events["m.room.tombstone"] = _TOMBSTONE_LEVEL_BELOW_CREATORS
        elif preset.invitees_are_equal:
            users.update(dict.fromkeys(wanted.invite, _CREATOR_LEVEL))
        levels = {
            "ban": 50,
            "events": events,
            "events_default": 0,
            "invite": 0,
            "kick": 50,
            "redact": 50,
            "state_default": 50,
            "users": users,
            "users_default": 0,
        }
        return {**levels, **(wanted.power_level_override or {})}

    async def _member_content(self, user_id: str, membership: str) -> dict[str, Any]:
        profile = await self._profiles.get(user_id)
        shown = {"displayname": profile.displayname, "avatar_url": profile.avatar_url}
        return {"membership": membership, **{name: value for name, value in shown.items() if value is not None}}


class _Drafts:
    """The first events, where a later one for the same entry of the state takes the earlier one's place."""

    def __init__(self, creator: str) -> None:
        self._creator = creator
        self._drafts: dict[StateKey, EventDraft] = {}

    def add(self, event_type: str, content: dict[str, Any], state_key: str = "") -> None:
        draft = EventDraft(None, event_type, self._creator, content, state_key=state_key)
        self._drafts[(event_type, state_key)] = draft

    def add_given(self, event: Mapping[str, Any]) -> None:
        event_type, state_key, content = event.get("type"), event.get("state_key", ""), event.get("content")
        if not isinstance(event_type, str) or not isinstance(state_key, str) or not isinstance(content, dict):
            raise bad_json("Each event of `initial_state` needs a `type`, a `content` and, if any, a text `state_key`.")
        if event_type in {"m.room.create", "m.room.member"}:
            raise MatrixError("M_INVALID_ROOM_STATE", f"{event_type} cannot be set through `initial_state`.", 400)
        self.add(event_type, content, state_key)

    def in_order(self) -> list[EventDraft]:
        return list(self._drafts.values())


def topic_content(topic: str) -> dict[str, Any]:
    """The content of a topic event: as plain text twice, for old and for new clients.

    Spec: client-server-api #mroomtopic
    """
    return {"topic": topic, "m.topic": {"m.text": [{"body": topic}]}}


def _is_taken(connection: Connection, alias: str) -> bool:
    return find_alias(connection, alias) is not None


def _alias_taken(alias: str) -> MatrixError:
    return MatrixError("M_ROOM_IN_USE", f"{alias} is the alias of a room already.", 400)
