"""Server keys: fetched from their owners and from notaries, believed as long as they may be, handed on as a notary."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from federation.network import FakeServer, FederatedServer, Network

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.event_hashes import add_hash_and_signature
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import get_room_version
from homeserver.protocol.signing import SigningKey, sign_json, verify_signed_json
from homeserver.runtime.clock import SystemClock
from homeserver_federation.key_answers import OldKey, OwnKeys
from homeserver_federation.ports import SignatureFailure

DAY_MS = 86_400_000
OLD = SigningKey("old", b"o" * 32)


def now_ms() -> int:
    return SystemClock().now_ms()


def event_by(fake: FakeServer, version: str, ts: int, key: SigningKey | None = None) -> Event:
    """A signed message of a user of the played server."""
    pdu: dict[str, Any] = {
        "type": "m.room.message",
        "room_id": "!room:elsewhere.test",
        "sender": f"@bob:{fake.name}",
        "content": {"body": "hello"},
        "depth": 5,
        "origin_server_ts": ts,
        "prev_events": [],
        "auth_events": [],
    }
    room_version = get_room_version(version)
    return Event(add_hash_and_signature(pdu, room_version, fake.name, key or fake.key), room_version)


def publishes(fake: FakeServer, answer: dict[str, Any]) -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.json_response(answer)

    fake.routes["GET", "/_matrix/key/v2/server"] = handle


def keys_of(fake: FakeServer, valid_until_ms: int, **more: Any) -> dict[str, Any]:
    unsigned = {
        "server_name": fake.name,
        "verify_keys": {fake.key.key_id: {"key": fake.key.verify_key_base64}},
        "old_verify_keys": {OLD.key_id: {"key": OLD.verify_key_base64, "expired_ts": now_ms() - DAY_MS}},
        "valid_until_ts": valid_until_ms,
        **more,
    }
    return sign_json(unsigned, fake.name, fake.key)


async def failure(server: FederatedServer, event: Event) -> str | None:
    found = await server.federation.key_ring.signature_failures([event])
    return found[event.event_id].reason if event.event_id in found else None


async def test_a_batch_fetches_each_server_once(network: Network) -> None:
    alpha, beta, gamma = (
        await network.add("alpha.test"),
        await network.add_fake("beta.test"),
        await network.add_fake("gamma.test"),
    )
    events = [event_by(fake, "11", now_ms() + number) for number in range(10) for fake in (beta, gamma)]
    forged = Event({**events[0].pdu, "depth": 6}, events[0].room_version)
    failures = await alpha.federation.key_ring.signature_failures([*events, forged])
    assert failures == {forged.event_id: SignatureFailure("The signature of beta.test is wrong")}
    assert beta.asked == gamma.asked == ["GET /_matrix/key/v2/server"]


async def test_keys_survive_a_restart(network: Network) -> None:
    await network.add("alpha.test")
    beta = await network.add_fake("beta.test")
    event = event_by(beta, "11", now_ms())
    assert await failure(network.servers["alpha.test"], event) is None
    await beta.hang_up()
    alpha = await network.restart("alpha.test")
    assert await failure(alpha, event) is None


async def test_side_by_side_fetches_are_shared(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    ring = alpha.federation.key_ring
    await asyncio.gather(*(ring.find_verify_key("beta.test", f"ed25519:{n}", valid_at_ms=None) for n in range(5)))
    assert beta.asked == ["GET /_matrix/key/v2/server"]


async def test_failures_are_remembered_for_a_while(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    publishes(beta, {"server_name": "beta.test"})
    for _ in range(3):
        assert await alpha.federation.key_ring.find_verify_key("beta.test", "ed25519:fake", valid_at_ms=None) is None
    assert len(beta.asked) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: {**answer, "server_name": "gamma.test"},
        lambda answer: {**answer, "signatures": {}},
        lambda answer: {**answer, "valid_until_ts": answer["valid_until_ts"] + 1},
        lambda answer: {key: value for key, value in answer.items() if key != "verify_keys"},
        lambda answer: [answer],
    ],
)
async def test_answers_that_prove_nothing(network: Network, spoil: Any) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    publishes(beta, spoil(keys_of(beta, now_ms() + DAY_MS)))
    assert await alpha.federation.key_ring.find_verify_key("beta.test", beta.key.key_id, valid_at_ms=None) is None


async def test_expired_keys_count_in_old_room_versions_only(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    publishes(beta, keys_of(beta, now_ms() - 1000))
    assert await failure(alpha, event_by(beta, "4", now_ms())) is None
    assert await failure(alpha, event_by(beta, "5", now_ms() - 5000)) is None
    assert "known and valid key" in str(await failure(alpha, event_by(beta, "5", now_ms())))


async def test_nobody_is_believed_for_more_than_a_week(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    publishes(beta, keys_of(beta, now_ms() + 1000 * DAY_MS))
    assert await failure(alpha, event_by(beta, "11", now_ms() + 6 * DAY_MS)) is None
    assert await failure(alpha, event_by(beta, "11", now_ms() + 8 * DAY_MS)) is not None


async def test_old_keys_are_good_for_old_events_and_for_no_request(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    publishes(beta, keys_of(beta, now_ms() + DAY_MS))
    assert await failure(alpha, event_by(beta, "11", now_ms() - 2 * DAY_MS, OLD)) is None
    assert await failure(alpha, event_by(beta, "11", now_ms(), OLD)) is not None
    ring = alpha.federation.key_ring
    assert await ring.find_current_key("beta.test", OLD.key_id) is None
    assert await ring.find_current_key("beta.test", beta.key.key_id) is not None


async def test_unknown_and_policy_server_keys_are_skipped(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    event = event_by(beta, "11", now_ms())
    signatures = event.pdu["signatures"]["beta.test"]
    more = {"ed25519:unheard_of": "c2ln", "ed25519:policy_server": "c2ln", **signatures}
    both = Event({**event.pdu, "signatures": {"beta.test": more}}, event.room_version)
    assert await failure(alpha, both) is None
    only = Event({**event.pdu, "signatures": {"beta.test": {"ed25519:unheard_of": "c2ln"}}}, event.room_version)
    assert await failure(alpha, only) is not None
    none = Event({**event.pdu, "signatures": {}}, event.room_version)
    assert await failure(alpha, none) is not None


async def test_own_events_need_no_network(network: Network) -> None:
    alpha = await network.add("alpha.test")
    alice = await alpha.user("alice")
    room_id = await alice.create_room()
    event_id = await alice.say(room_id, "hello")
    stored = await alpha.homeserver.rooms.events.find(event_id)
    assert stored is not None
    assert await failure(alpha, stored.event) is None


async def test_many_signatures_at_once(network: Network) -> None:
    """Enough of them to be checked in a thread."""
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    good = [event_by(beta, "11", now_ms() + number) for number in range(40)]
    bad = [Event({**event.pdu, "depth": 9}, event.room_version) for event in good[:20]]
    failures = await alpha.federation.key_ring.signature_failures([*good, *bad])
    assert set(failures) == {event.event_id for event in bad}


async def test_signed_json(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    signed = sign_json({"a": 1}, "beta.test", beta.key)
    await alpha.federation.key_ring.check_signed_json("beta.test", signed)
    for broken in ({**signed, "a": 2}, {"a": 1}):
        with pytest.raises(MatrixError, match="no valid signature"):
            await alpha.federation.key_ring.check_signed_json("beta.test", broken)


async def test_a_notary_knows_the_keys_of_servers_that_are_gone(network: Network) -> None:
    notary = await network.add("notary.test")
    beta = await network.add_fake("beta.test")
    event = event_by(beta, "11", now_ms())
    assert await failure(notary, event) is None
    await beta.hang_up()
    alpha = await network.add("alpha.test", federation={"trusted_key_servers": ["notary.test"]})
    assert await failure(alpha, event) is None


@pytest.mark.parametrize("spoil", ["no signature of the notary", "no signature of the owner", "another server"])
async def test_a_notary_is_not_believed_without_both_signatures(network: Network, spoil: str) -> None:
    notary, beta = await network.add_fake("notary.test"), FakeServer("beta.test")
    answer = sign_json(keys_of(beta, now_ms() + DAY_MS), "notary.test", notary.key)
    if spoil == "another server":
        answer = sign_json(keys_of(FakeServer("gamma.test"), now_ms() + DAY_MS), "notary.test", notary.key)
    else:
        del answer["signatures"]["notary.test" if spoil == "no signature of the notary" else "beta.test"]

    async def query(request: web.Request) -> web.Response:
        return web.json_response({"server_keys": [answer]})

    notary.routes["POST", "/_matrix/key/v2/query"] = query
    alpha = await network.add("alpha.test", federation={"trusted_key_servers": ["notary.test"]})
    assert await failure(alpha, event_by(beta, "11", now_ms())) is not None
    assert "POST /_matrix/key/v2/query" in notary.asked


async def test_what_we_publish(network: Network) -> None:
    alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
    for path in ("/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519:anything"):
        status, answer = await beta.ask(alpha, "GET", path)
        assert status == 200
        [(key_id, key)] = answer["verify_keys"].items()
        assert key["key"] == alpha.homeserver.signing_key.verify_key_base64
        assert verify_signed_json(answer, "alpha.test", key_id, alpha.homeserver.signing_key.verify_key)
        assert now_ms() + 3_600_000 < answer["valid_until_ts"] <= now_ms() + 7 * DAY_MS


def test_old_keys_are_published_with_their_end() -> None:
    own = OwnKeys("alpha.test", SigningKey("new", b"n" * 32), {OLD.key_id: OldKey(OLD.verify_key_base64, 5)})
    assert own.answer(0)["old_verify_keys"] == {OLD.key_id: {"key": OLD.verify_key_base64, "expired_ts": 5}}
    assert own.find(OLD.key_id) == OLD.verify_key
    assert own.find("ed25519:other") is None


class TestNotary:
    async def test_fetches_what_it_does_not_have_and_signs_beside_the_owner(self, network: Network) -> None:
        alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
        gamma = await network.add_fake("gamma.test")
        status, answer = await gamma.ask(alpha, "GET", "/_matrix/key/v2/query/beta.test")
        assert status == 200
        [keys] = answer["server_keys"]
        own = alpha.homeserver.signing_key
        assert verify_signed_json(keys, "beta.test", beta.key.key_id, beta.key.verify_key)
        assert verify_signed_json(keys, "alpha.test", own.key_id, own.verify_key)

    async def test_answers_from_what_it_has_while_that_is_fresh(self, network: Network) -> None:
        alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
        for _ in range(3):
            await beta.ask(alpha, "GET", "/_matrix/key/v2/query/beta.test")
        assert beta.asked == ["GET /_matrix/key/v2/server"]

    async def test_asks_again_for_keys_that_must_last_longer(self, network: Network) -> None:
        alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
        await beta.ask(alpha, "GET", "/_matrix/key/v2/query/beta.test")
        alpha.federation.key_ring._fetcher._not_before_ms.clear()
        later = now_ms() + 2 * DAY_MS
        await beta.ask(alpha, "GET", f"/_matrix/key/v2/query/beta.test?minimum_valid_until_ts={later}")
        assert len(beta.asked) == 2

    async def test_many_servers_of_which_some_are_unknown(self, network: Network) -> None:
        alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
        wanted: dict[str, Any] = {"beta.test": {beta.key.key_id: {}}, "nowhere.test": {}, "alpha.test": {}}
        status, answer = await beta.ask(alpha, "POST", "/_matrix/key/v2/query", {"server_keys": wanted})
        assert status == 200
        assert {keys["server_name"] for keys in answer["server_keys"]} == {"alpha.test", "beta.test"}

    @pytest.mark.parametrize("body", [{}, {"server_keys": []}, {"server_keys": {"a.test": {"k": 5}}}])
    async def test_questions_that_make_no_sense(self, network: Network, body: Any) -> None:
        alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
        status, answer = await beta.ask(alpha, "POST", "/_matrix/key/v2/query", body)
        assert (status, answer["errcode"]) == (400, "M_BAD_JSON")

    async def test_nothing_for_a_server_that_cannot_be_reached(self, network: Network) -> None:
        alpha, beta = await network.add("alpha.test"), await network.add_fake("beta.test")
        assert await beta.ask(alpha, "GET", "/_matrix/key/v2/query/nowhere.test") == (200, {"server_keys": []})
