"""`requestToken` and what follows: repetitions, codes, links that scanners look at, strangers who guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from email_people import SECRET, confirmed, follow, press, request_token, sign_up
from mail_server import MailServer
from plugin_kit import server_with
from server_kit import Server

from homeserver.runtime.clock import ManualClock
from homeserver.storage import validation_sessions
from homeserver.testing import Answer, AsgiClient

PAGE = "/_starling/client/validate"


async def submit(client: AsgiClient, sid: str, token: str, secret: str = SECRET) -> Answer:
    return await client.post(PAGE, {"sid": sid, "client_secret": secret, "token": token})


async def test_a_repeated_request_sends_nothing_and_a_new_attempt_does(birdhouse: Server, post: MailServer) -> None:
    first = await request_token(birdhouse.client, "register", "alice@example.com", send_attempt=3)
    old = await post.next_to("alice@example.com")
    for attempt in (3, 2):
        again = await request_token(birdhouse.client, "register", "alice@example.com", send_attempt=attempt)
        assert again.json == first.json
    more = await request_token(birdhouse.client, "register", "alice@example.com", send_attempt=4)
    assert more.json["sid"] == first.json["sid"]
    new = await post.next_to("alice@example.com", 2)
    assert len(post.letters) == 2
    assert (await submit(birdhouse.client, first.json["sid"], old.code)).json["errcode"] == "M_TOKEN_INCORRECT"
    assert (await submit(birdhouse.client, first.json["sid"], new.code)).json == {"success": True}


async def test_codes_are_read_as_people_type_them(birdhouse: Server, post: MailServer) -> None:
    asked = await request_token(birdhouse.client, "register", "alice@example.com")
    assert asked.json["submit_url"] == "https://example.org" + PAGE
    code = (await post.next_to("alice@example.com")).code
    wrong = await submit(birdhouse.client, asked.json["sid"], code, "other")
    assert (wrong.status, wrong.json["errcode"]) == (404, "M_NO_VALID_SESSION")
    typed = code.lower().replace("-", " ")
    assert (await submit(birdhouse.client, asked.json["sid"], typed)).json == {"success": True}


async def test_guessing_ends_the_session(birdhouse: Server, post: MailServer) -> None:
    sid = (await request_token(birdhouse.client, "register", "alice@example.com")).json["sid"]
    code = (await post.next_to("alice@example.com")).code
    answers = [await submit(birdhouse.client, sid, "AAAAAAAA") for _ in range(10)]
    assert {answer.json["errcode"] for answer in answers} == {"M_TOKEN_INCORRECT"}
    late = await submit(birdhouse.client, sid, code)
    assert (late.status, late.json["errcode"]) == (400, "M_SESSION_EXPIRED")
    await request_token(birdhouse.client, "register", "alice@example.com", send_attempt=2)
    code = (await post.next_to("alice@example.com", 2)).code
    assert (await submit(birdhouse.client, sid, code)).json["errcode"] == "M_SESSION_EXPIRED"


async def test_looking_at_the_link_confirms_nothing(birdhouse: Server, post: MailServer) -> None:
    sid = (await request_token(birdhouse.client, "register", "alice@example.com")).json["sid"]
    letter = await post.next_to("alice@example.com")
    for _ in range(3):
        page = await birdhouse.client.get(letter.link)
        assert b"Open an account with alice@example.com?" in page.body
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
    kept = await birdhouse.homeserver.database.read(validation_sessions.find_session, sid)
    assert kept is not None
    assert kept.validated_ms is None
    done = await press(birdhouse.client, letter)
    assert b"go on in your app" in done.body
    assert b"Done already" in (await birdhouse.client.get(letter.link)).body


async def test_a_link_leads_on_where_the_client_asked(tmp_path: Path, post: MailServer) -> None:
    email = post.settings(next_link_hosts=["*.example.com"])
    async with server_with(tmp_path, email=email) as server:
        for link in (
            "https://evil.example/",
            "javascript:alert(1)",
            "https://app.example.com/\nx",
            "//app.example.com",
        ):
            refused = await request_token(server.client, "register", "alice@example.com", next_link=link)
            assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")
        wanted = "https://app.example.com/done?a=1"
        await request_token(server.client, "register", "alice@example.com", next_link=wanted)
        done = await follow(server.client, await post.next_to("alice@example.com"))
        assert (done.status, done.headers["location"]) == (303, wanted)


async def test_a_link_expires(tmp_path: Path, post: MailServer) -> None:
    clock = ManualClock()
    async with server_with(tmp_path, email=post.settings(), clock=clock) as server:
        sid = (await request_token(server.client, "register", "alice@example.com")).json["sid"]
        letter = await post.next_to("alice@example.com")
        await clock.advance(3_601)
        assert (await server.client.get(letter.link)).status == 400
        assert (await press(server.client, letter)).status == 400
        assert (await submit(server.client, sid, letter.code)).json["errcode"] == "M_SESSION_EXPIRED"
        await server.homeserver.email.validation.forget_expired()
        assert await server.homeserver.database.read(validation_sessions.find_session, sid) is not None
        await server.homeserver.database.write(validation_sessions.delete_expired, clock.now_ms())
        assert await server.homeserver.database.read(validation_sessions.find_session, sid) is None


@pytest.mark.parametrize("token", ["", "x" * 40, "<script>"])
async def test_made_up_links_show_a_page_that_says_so(birdhouse: Server, post: MailServer, token: str) -> None:
    sid = (await request_token(birdhouse.client, "register", "alice@example.com")).json["sid"]
    page = await birdhouse.client.get(PAGE, query={"sid": sid, "token": token})
    assert page.status == 400
    assert b"does not work any more" in page.body
    assert b"<script>" not in page.body


@pytest.mark.parametrize(
    "address", ["", "alice", "@example.com", "a@b@c", "a b@example.com", "a@exa mple.com", "a@-x.com", "a@127.0.0.1"]
)
async def test_what_is_no_address(birdhouse: Server, address: str) -> None:
    refused = await request_token(birdhouse.client, "register", address)
    assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_what_is_no_secret(birdhouse: Server) -> None:
    for secret in ("", "a b", "x" * 256):
        refused = await request_token(birdhouse.client, "register", "a@example.com", client_secret=secret)
        assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")
    incomplete = await birdhouse.client.post(
        "/_matrix/client/v3/register/email/requestToken", {"client_secret": "s", "email": "a@example.com"}
    )
    assert incomplete.status == 400


async def test_strangers_do_not_learn_who_has_an_account(birdhouse: Server, post: MailServer) -> None:
    await sign_up(birdhouse, post, "alice", "alice@example.com")
    taken = await request_token(birdhouse.client, "register", "alice@example.com", client_secret="stranger")
    free = await request_token(birdhouse.client, "register", "free@example.com", client_secret="stranger")
    assert (
        (taken.status, taken.json.keys())
        == (free.status, free.json.keys())
        == (200, {"sid": 0, "submit_url": 0}.keys())
    )
    told = await post.next_to("alice@example.com", 2)
    assert "belongs to @alice:example.org already" in told.text
    assert "/_starling/" not in told.text
    unknown = await request_token(birdhouse.client, "account/password", "nobody@example.com")
    assert (unknown.status, unknown.json.keys()) == (200, free.json.keys())
    assert "There is no such account." in (await post.next_to("nobody@example.com")).text


async def test_a_server_may_say_who_has_an_account(tmp_path: Path, post: MailServer) -> None:
    async with server_with(tmp_path, email=post.settings(hide_existence=False)) as server:
        await sign_up(server, post, "alice", "alice@example.com")
        for kind in ("register", "account/3pid"):
            refused = await request_token(server.client, kind, "Alice@example.com", client_secret="other")
            assert (refused.status, refused.json["errcode"]) == (400, "M_THREEPID_IN_USE")
        unknown = await request_token(server.client, "account/password", "nobody@example.com")
        assert (unknown.status, unknown.json["errcode"]) == (400, "M_THREEPID_NOT_FOUND")
        await confirmed(server, post, "account/password", "alice@example.com")


async def test_nobody_is_flooded(tmp_path: Path, post: MailServer) -> None:
    limits = {"validation_target": {"per_second": 0.001, "burst": 2}}
    async with server_with(tmp_path, email=post.settings(), rate_limits=limits) as server:
        statuses = [
            (await request_token(server.client, "register", address, send_attempt=attempt)).status
            for attempt, address in (
                (1, "a@example.com"),
                (2, "A@Example.com"),
                (3, "a@example.com"),
                (1, "b@example.com"),
            )
        ]
        assert statuses == [200, 200, 429, 200]


async def test_closed_servers_invite_nobody_to_register(tmp_path: Path, post: MailServer) -> None:
    async with server_with(tmp_path, email=post.settings(), registration={"mode": "closed"}) as server:
        refused = await request_token(server.client, "register", "a@example.com")
        assert (refused.status, refused.json["errcode"]) == (403, "M_THREEPID_DENIED")


async def test_telephones_need_a_plugin(birdhouse: Server) -> None:
    body = {"client_secret": "s", "country": "GB", "phone_number": "07700900001", "send_attempt": 1}
    for kind in ("register", "account/password", "account/3pid"):
        refused = await birdhouse.client.post(f"/_matrix/client/v3/{kind}/msisdn/requestToken", body)
        assert (refused.status, refused.json["errcode"]) == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
