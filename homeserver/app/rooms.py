"""Builds everything about rooms: the log's followers in memory, the use cases, sync.

Order matters: each part gets the ones above it.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.protocol.signing import SigningKey
from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver.services.account_data import AccountData
from homeserver.services.appservices.queries import AppserviceQueries
from homeserver.services.ephemeral import EphemeralCounter
from homeserver.services.fully_read import FullyReadMarkers
from homeserver.services.presence import Presence
from homeserver.services.profiles import Profiles
from homeserver.services.push.history import NotificationHistory
from homeserver.services.push.outcomes import DefaultPushOutcomes
from homeserver.services.push.unread import Unread
from homeserver.services.push_rules import PushRules
from homeserver.services.receipts import Receipts
from homeserver.services.remote_servers import RemoteServers
from homeserver.services.reports import Reports
from homeserver.services.rooms.aggregations import Aggregations
from homeserver.services.rooms.aliases import RoomDirectory
from homeserver.services.rooms.append_event import AppendEvent
from homeserver.services.rooms.client_events import ClientEvents
from homeserver.services.rooms.create_room import CreateRoom
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.membership import MembershipService
from homeserver.services.rooms.memberships_at_events import MembershipsAtEvents
from homeserver.services.rooms.policy import Gates, RoomPolicy
from homeserver.services.rooms.read_room import ReadRoom
from homeserver.services.rooms.redact_related import RedactRelated
from homeserver.services.rooms.relations import Relations
from homeserver.services.rooms.room import Rooms
from homeserver.services.rooms.send_event import SendEvent
from homeserver.services.rooms.space_tree import SpaceTree
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.services.rooms.summaries import RoomSummaries
from homeserver.services.rooms.timeline import Timeline
from homeserver.services.rooms.upgrade_room import UpgradeRoom
from homeserver.services.rooms.visibility import Visibility
from homeserver.services.sliding_sync.connections import Connections
from homeserver.services.sliding_sync.extensions import SlidingExtensions
from homeserver.services.sliding_sync.lists import RoomLists
from homeserver.services.sliding_sync.rooms import SlidingRooms
from homeserver.services.sliding_sync.sliding_sync import SlidingSync
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.heroes import Heroes
from homeserver.services.sync.hub import SyncHub
from homeserver.services.sync.joined_room import JoinedRooms
from homeserver.services.sync.newest_events import NewestEvents
from homeserver.services.sync.old_sync import OldSync
from homeserver.services.sync.other_rooms import StrippedRooms
from homeserver.services.sync.own_memberships import OwnMemberships
from homeserver.services.sync.request import DeviceNews, UserNews
from homeserver.services.sync.sync import Sync
from homeserver.services.typing import Typing
from homeserver.storage.database import Database
from homeserver_config.settings import Settings


@dataclass(frozen=True, slots=True)
class RoomParts:
    """What the HTTP side and other parts use of rooms."""

    rooms: Rooms
    events: EventStore
    groups: StateGroups
    visibility: Visibility
    append: AppendEvent
    membership: MembershipService
    create: CreateRoom
    send: SendEvent
    redact_related: RedactRelated
    upgrade: UpgradeRoom
    timeline: Timeline
    read: ReadRoom
    relations: Relations
    directory: RoomDirectory
    client_events: ClientEvents
    unread: Unread
    hub: SyncHub
    summaries: RoomSummaries
    space_tree: SpaceTree
    reports: Reports
    notifications: NotificationHistory


def build_rooms(
    settings: Settings,
    database: Database,
    clock: Clock,
    randomness: Randomness,
    signing_key: SigningKey,
    profiles: Profiles,
    push_rules: PushRules,
    account_data: AccountData,
    remote: RemoteServers,
    plugins: Gates,
    appservices: AppserviceQueries,
) -> RoomParts:
    """Everything about rooms but sync itself. Whoever follows the log follows it through `follow`."""
    server_name = settings.server.server_name
    cache_bytes = settings.caches.total
    gates = RoomPolicy(settings.rooms, database, plugins)
    rooms = Rooms(database, server_name, cache_bytes * 3 // 10)
    events = EventStore(database, cache_bytes * 5 // 10)
    groups = StateGroups(database, cache_bytes // 10)
    visibility = Visibility(database, rooms, events, groups)
    append = AppendEvent(database, rooms, events, DefaultPushOutcomes(), clock, randomness, server_name, signing_key)
    membership = MembershipService(
        database,
        rooms,
        events,
        append,
        profiles,
        remote,
        gates,
        account_data,
        server_name,
        forget_on_leave=settings.rooms.forget_on_leave,
        invited=appservices,
    )
    create = CreateRoom(database, append, membership, profiles, gates, clock, randomness, server_name, settings.rooms)
    timeline = Timeline(database, rooms, events, groups, visibility, remote)
    directory = RoomDirectory(database, rooms, events, append, remote, gates, clock, server_name, appservices)
    summaries = RoomSummaries(database, rooms, events, directory, remote)
    unread = Unread(database, events, push_rules)
    send = SendEvent(database, rooms, events, append, gates, membership)
    return RoomParts(
        rooms=rooms,
        events=events,
        groups=groups,
        visibility=visibility,
        append=append,
        membership=membership,
        create=create,
        send=send,
        redact_related=RedactRelated(database, events, send),
        upgrade=UpgradeRoom(database, rooms, events, append, create),
        timeline=timeline,
        read=ReadRoom(database, rooms, events, groups, visibility, timeline),
        relations=Relations(database, rooms, events, visibility, timeline),
        directory=directory,
        client_events=ClientEvents(Aggregations(database, events), MembershipsAtEvents(rooms, events, groups), clock),
        unread=unread,
        notifications=NotificationHistory(database, rooms, events, unread, push_rules),
        hub=SyncHub(database, rooms, clock),
        summaries=summaries,
        space_tree=SpaceTree(summaries, remote),
        reports=Reports(database, rooms, events, clock),
    )


@dataclass(frozen=True, slots=True)
class SyncParts:
    """Sync, and what only sync and its endpoints use."""

    sync: Sync
    old: OldSync
    sliding: SlidingSync
    connections: Connections
    typing: Typing
    presence: Presence
    receipts: Receipts
    fully_read: FullyReadMarkers


def build_sync(
    settings: Settings, database: Database, clock: Clock, parts: RoomParts, users: UserNews, devices: DeviceNews
) -> SyncParts:
    """Sync over the rooms."""
    counter = EphemeralCounter(clock)
    typing = Typing(parts.rooms, counter, clock)
    typing.on_change(lambda room_id: parts.hub.typing_changed(room_id, counter.value))
    presence = Presence(settings.presence, database, counter, clock)
    newest = NewestEvents(database, parts.events, parts.visibility)
    heroes = Heroes(database)
    own = OwnMemberships(parts.groups, parts.visibility)
    device_lists = DeviceLists(database, parts.rooms, newest, parts.visibility, own, devices)
    joined = JoinedRooms(newest, heroes, parts.events, parts.groups, parts.client_events, typing)
    stripped = StrippedRooms(parts.events, parts.groups)
    sync = Sync(
        database,
        parts.rooms,
        parts.hub,
        joined,
        stripped,
        parts.visibility,
        own,
        device_lists,
        parts.unread,
        devices,
        users,
        presence,
        counter,
        clock,
    )
    old = OldSync(
        database,
        sync,
        parts.rooms,
        parts.read,
        parts.timeline,
        parts.visibility,
        parts.client_events,
        users,
        presence,
        clock,
    )
    connections = Connections(database, clock, settings.caches.total // 20)
    sliding = SlidingSync(
        database,
        parts.rooms,
        parts.hub,
        connections,
        RoomLists(database, parts.rooms, parts.events, parts.visibility, parts.hub),
        SlidingRooms(
            database,
            parts.rooms,
            parts.events,
            parts.groups,
            parts.visibility,
            newest,
            heroes,
            stripped,
            parts.client_events,
        ),
        SlidingExtensions(database, devices, device_lists, users, typing),
        parts.unread,
        users,
        presence,
        counter,
        clock,
    )
    return SyncParts(
        sync,
        old,
        sliding,
        connections,
        typing,
        presence,
        Receipts(database, parts.rooms, parts.events, clock),
        FullyReadMarkers(database, parts.rooms),
    )
