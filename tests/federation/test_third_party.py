"""Invites to addresses, redeemed across servers: the exchange, and the word that an address is bound."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from federation.network import FederatedServer, Network
from federation.rooms import sees_member, two_servers
from server_kit import User

from homeserver.protocol.signing import SigningKey, sign_json
from homeserver.testing import path_of

_KEY = SigningKey("1", bytes(range(32)))
_ON_BIND = "/_matrix/federation/v1/3pid/onbind"


async def invited_by_address(alice: User) -> str:
    """A room to which somebody is invited by an address, under the token `secret`."""
    room_id = await alice.create_room(preset="private_chat", room_version="11")
    content = {"display_name": "b...", "key_validity_url": "https://id.test", "public_key": _KEY.verify_key_base64}
    await alice.set_state(room_id, "m.room.third_party_invite", content, "secret")
    return room_id


def waiting(room_id: str, sender: str, user_id: str, key: SigningKey = _KEY) -> dict[str, Any]:
    """An invite that an identity server kept until the address was bound."""
    signed = sign_json({"mxid": user_id, "token": "secret"}, "id.test", key)
    who = {"mxid": user_id, "medium": "email", "address": "bob@mail.test"}
    return {**who, "room_id": room_id, "sender": sender, "signed": signed}


async def bind(server: FederatedServer, user_id: str, *invites: object) -> int:
    """Say, without any signature, that an address was bound; the status."""
    body = {"medium": "email", "address": "bob@mail.test", "mxid": user_id, "invites": list(invites)}
    async with aiohttp.ClientSession() as session, session.put(server.url + _ON_BIND, json=body) as answer:
        return answer.status


@pytest.mark.parametrize("is_same_server", [True, False])
async def test_a_bound_address_brings_the_invite(network: Network, is_same_server: bool) -> None:
    alpha, beta = await two_servers(network)
    alice = await alpha.user("alice")
    home = alpha if is_same_server else beta
    bob = await home.user("bob")
    room_id = await invited_by_address(alice)
    assert await bind(home, bob.user_id, "nonsense", {}, waiting(room_id, alice.user_id, bob.user_id)) == 200
    await sees_member(alice, room_id, bob.user_id, "invite")
    content = await alice.call("GET", path_of("rooms", room_id, "state", "m.room.member", bob.user_id))
    assert content["third_party_invite"]["display_name"] == "b..."
    assert content["third_party_invite"]["signed"]["token"] == "secret"
    await bob.join(room_id)


async def test_forged_binds_bring_nothing(network: Network) -> None:
    alpha, beta = await two_servers(network)
    alice, bob, cleo = await alpha.user("alice"), await beta.user("bob"), await beta.user("cleo")
    room_id = await invited_by_address(alice)
    forged = waiting(room_id, alice.user_id, bob.user_id, SigningKey("1", bytes(32)))
    of_another = {**waiting(room_id, alice.user_id, bob.user_id), "mxid": cleo.user_id}
    of_nobody = waiting(room_id, "@nobody:alpha.test", bob.user_id)
    assert await bind(beta, bob.user_id, forged, of_nobody) == 200
    assert await bind(beta, cleo.user_id, of_another) == 200
    assert await bind(beta, alice.user_id, waiting(room_id, alice.user_id, alice.user_id)) == 400
    for user in (bob, cleo):
        answer = await alice.ask("GET", path_of("rooms", room_id, "state", "m.room.member", user.user_id))
        assert answer.status == 404
