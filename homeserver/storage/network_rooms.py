"""The public directories of third-party networks, kept by application services.

Spec: application-service-api #published-room-directories
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, select

from homeserver.storage.tables.application_services import network_rooms
from homeserver.storage.tables.rooms import rooms
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from homeserver.storage.database import Transaction


class Network(NamedTuple):
    """A network that an application service connects."""

    appservice_id: str
    network_id: str


_ROOM = select(rooms.c.nid).where(rooms.c.room_id == bindparam("of_room"))
_INSERT = insert_or_ignore(network_rooms, ["appservice_id", "network_id", "room_nid"])
_DELETE = delete(network_rooms).where(
    network_rooms.c.appservice_id == bindparam("of_appservice"),
    network_rooms.c.network_id == bindparam("of_network"),
    network_rooms.c.room_nid == bindparam("room"),
)
_DELETE_ALL_OF = delete(network_rooms).where(network_rooms.c.appservice_id == bindparam("of_appservice"))
IN_ANY: Any = select(network_rooms.c.room_nid)
"""The row numbers of the rooms in any network's directory."""


def in_network(network: Network) -> Any:
    """The row numbers of the rooms in one network's directory."""
    return IN_ANY.where(
        network_rooms.c.appservice_id == network.appservice_id, network_rooms.c.network_id == network.network_id
    )


def publish_in_network(tx: Transaction, network: Network, room_id: str, visible: bool) -> bool:
    """List a room in a network's directory, or take it out; False if the room is not known."""
    nid = tx.connection.execute(_ROOM, {"of_room": room_id}).scalar()
    if nid is None:
        return False
    if visible:
        tx.connection.execute(_INSERT, {**network._asdict(), "room_nid": nid})
    else:
        values = {"of_appservice": network.appservice_id, "of_network": network.network_id, "room": nid}
        tx.connection.execute(_DELETE, values)
    return True


def delete_networks_of(tx: Transaction, appservice_id: str) -> None:
    """Empty the directories of an application service's networks."""
    tx.connection.execute(_DELETE_ALL_OF, {"of_appservice": appservice_id})
