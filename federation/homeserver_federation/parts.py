"""Builds the rooms half of federation on top of the core: what is received, what is served, what is asked for.

Order matters: each part gets the ones above it.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.protocol.signing import SigningKey
from homeserver.runtime.background import BackgroundTasks
from homeserver.runtime.clock import Clock
from homeserver.runtime.randomness import Randomness
from homeserver.services.rooms.append_event import AppendEvent, PushOutcomes
from homeserver.services.rooms.event_store import EventStore
from homeserver.services.rooms.membership import InvitePermissions
from homeserver.services.rooms.room import Rooms
from homeserver.services.rooms.state_groups import StateGroups
from homeserver.services.rooms.summaries import RoomSummaries
from homeserver.services.typing import Typing
from homeserver.storage.database import Database
from homeserver.storage.remote_rooms import Relay
from homeserver.web.endpoint import Route, routes_of
from homeserver_federation.inbound.check_auth_events import CheckAuthEvents
from homeserver_federation.inbound.check_policy_server import CheckPolicyServer
from homeserver_federation.inbound.outside_rooms import OutsideRooms
from homeserver_federation.inbound.place_event import PlaceEvent
from homeserver_federation.inbound.receive_device_lists import ReceiveDeviceLists
from homeserver_federation.inbound.receive_edus import NotesPresence, ReceiveEdus, ReceivesToDevice
from homeserver_federation.inbound.receive_pdu import ReceivePdu
from homeserver_federation.inbound.receive_transaction import ReceiveTransaction
from homeserver_federation.inbound.retry_later import RetryLater
from homeserver_federation.ports import ServerClient, SignatureChecks
from homeserver_federation.remote_servers import Directory, FederatedServers, Profiles
from homeserver_federation.remote_trees import RemoteTrees
from homeserver_federation.room_locks import RoomLocks
from homeserver_federation.rooms.access import ServerAccess
from homeserver_federation.rooms.backfill import Backfill
from homeserver_federation.rooms.events_in_time import EventsInTime
from homeserver_federation.rooms.handshake import Handshake
from homeserver_federation.rooms.invite import InviteToRoom
from homeserver_federation.rooms.join import JoinRoom
from homeserver_federation.rooms.joined_servers import JoinedServers
from homeserver_federation.rooms.knock import KnockOnRoom
from homeserver_federation.rooms.leave import LeaveRoom
from homeserver_federation.rooms.member_events import MemberEvents
from homeserver_federation.rooms.missing_events import MissingEvents
from homeserver_federation.rooms.outliers import Outliers
from homeserver_federation.rooms.receive_invite import InviteGate, ReceiveInvite
from homeserver_federation.rooms.redactions import Redactions
from homeserver_federation.rooms.restricted_joins import RestrictedJoins
from homeserver_federation.rooms.room_states import RoomStates
from homeserver_federation.rooms.routes import Routes
from homeserver_federation.rooms.serve_events import ServeEvents
from homeserver_federation.rooms.serve_hierarchy import ServeHierarchy
from homeserver_federation.rooms.server_visibility import ServerVisibility
from homeserver_federation.rooms.state_fetching import StateFetching
from homeserver_federation.rooms.templates import Templates
from homeserver_federation.rooms.third_party_invites import ThirdPartyInvites
from homeserver_federation.server_api.backfill import BackfillApi
from homeserver_federation.server_api.event_auth import EventAuthApi
from homeserver_federation.server_api.events import EventsApi
from homeserver_federation.server_api.invites_v1 import InvitesV1Api
from homeserver_federation.server_api.invites_v2 import InvitesV2Api
from homeserver_federation.server_api.joins_v1 import JoinsV1Api
from homeserver_federation.server_api.joins_v2 import JoinsV2Api
from homeserver_federation.server_api.knocks import KnocksApi
from homeserver_federation.server_api.leaving_v1 import LeavingV1Api
from homeserver_federation.server_api.leaving_v2 import LeavingV2Api
from homeserver_federation.server_api.space_hierarchy import SpaceHierarchyApi
from homeserver_federation.server_api.third_party_invite import ThirdPartyInviteApi
from homeserver_federation.server_api.transactions import TransactionsApi


@dataclass(frozen=True, slots=True)
class CoreParts:
    """What federation of rooms needs of the core. `presence` is None where nobody is to see that of other servers."""

    server_name: str
    signing_key: SigningKey
    database: Database
    clock: Clock
    randomness: Randomness
    background: BackgroundTasks
    rooms: Rooms
    events: EventStore
    groups: StateGroups
    summaries: RoomSummaries
    append: AppendEvent
    push: PushOutcomes
    permissions: InvitePermissions
    typing: Typing
    to_device: ReceivesToDevice
    presence: NotesPresence | None


@dataclass(frozen=True, slots=True)
class OtherHalf:
    """What federation of rooms needs of the rest of federation.

    `relay(tx, event_id, now_ms)` notes an event of another server that is ours to send to the servers in its room.
    `gate` may refuse invites that come from elsewhere.
    """

    client: ServerClient
    checks: SignatureChecks
    directory: Directory
    profiles: Profiles
    relay: Relay | None = None
    gate: InviteGate | None = None
    join_timeout_ms: int = 300_000


@dataclass(frozen=True, slots=True)
class RoomsOfFederation:
    """What is built. `routes` are for listeners with the resource `federation`; stop `transactions` with the server."""

    transactions: ReceiveTransaction
    receive: ReceivePdu
    joined: JoinedServers
    routes: list[Route]


def build_rooms_of_federation(core: CoreParts, other: OtherHalf, remote: FederatedServers) -> RoomsOfFederation:
    """Everything, with `remote` attached to it."""
    database, rooms, events, groups = core.database, core.rooms, core.events, core.groups
    client, checks, clock = other.client, other.checks, core.clock
    locks = RoomLocks()
    joined = JoinedServers(database, core.server_name)
    access = ServerAccess(rooms, events, joined)
    states = RoomStates(database, groups)
    redactions = Redactions(database, events, groups)
    outliers = Outliers(database, events, client, checks)
    auth_events = CheckAuthEvents(events, outliers.fetch_auth_chain)
    fetching = StateFetching(events, client, outliers)
    outside = OutsideRooms(database, rooms, clock, core.server_name)
    receive = ReceivePdu(
        rooms,
        events,
        locks,
        access,
        joined,
        checks,
        auth_events,
        MissingEvents(database, client),
        fetching,
        CheckPolicyServer(events, joined, client),
        PlaceEvent(database, rooms, events, states, redactions, core.push, clock, core.server_name),
        outside,
        RetryLater(core.background, clock),
        core.server_name,
    )
    edus = ReceiveEdus(
        database,
        rooms,
        events,
        access,
        core.typing,
        core.to_device,
        core.presence,
        ReceiveDeviceLists(database, client, core.background, clock),
        clock,
    )
    transactions = ReceiveTransaction(receive, edus)
    routes = Routes(database, rooms, events, joined)
    handshake = Handshake(client, clock, core.randomness, core.server_name, core.signing_key)
    invite = InviteToRoom(rooms, events, client, receive, core.server_name)
    backfill = Backfill(
        database, rooms, events, joined, client, checks, outliers, auth_events, fetching, states, redactions
    )
    remote.attach(
        JoinRoom(
            database,
            rooms,
            locks,
            routes,
            handshake,
            client,
            checks,
            outliers,
            receive,
            clock,
            core.server_name,
            other.join_timeout_ms,
        ),
        LeaveRoom(
            database,
            events,
            locks,
            routes,
            handshake,
            client,
            outside,
            clock,
            core.randomness,
            core.server_name,
            core.signing_key,
        ),
        KnockOnRoom(locks, routes, handshake, client, checks, outside),
        invite,
        backfill,
        other.directory,
        other.profiles,
        RemoteTrees(client, clock, core.server_name),
        EventsInTime(database, rooms, events, joined, client, backfill),
    )
    restricted = RestrictedJoins(rooms, events)
    templates = Templates(events, access, restricted, clock, core.server_name)
    member_events = MemberEvents(
        database,
        events,
        access,
        joined,
        checks,
        restricted,
        states,
        receive,
        other.relay,
        core.server_name,
        core.signing_key,
    )
    receive_invite = ReceiveInvite(
        database,
        rooms,
        locks,
        access,
        checks,
        outside,
        core.permissions,
        other.gate,
        core.server_name,
        core.signing_key,
    )
    serve = ServeEvents(database, events, access, ServerVisibility(events, groups), states, clock, core.server_name)
    apis = [
        TransactionsApi(transactions),
        JoinsV1Api(templates, member_events),
        JoinsV2Api(member_events),
        LeavingV1Api(templates, member_events),
        LeavingV2Api(member_events),
        KnocksApi(templates, member_events),
        InvitesV1Api(receive_invite),
        InvitesV2Api(receive_invite),
        ThirdPartyInviteApi(ThirdPartyInvites(access, events, core.append, invite, client, core.server_name)),
        BackfillApi(serve),
        EventsApi(serve),
        EventAuthApi(serve),
        SpaceHierarchyApi(ServeHierarchy(events, access, joined, core.summaries)),
    ]
    return RoomsOfFederation(transactions, receive, joined, [route for api in apis for route in routes_of(api)])
