"""The queue: a mail server that is down, comes back, refuses; nothing is lost, nothing secret is logged."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.smtp import AuthResult
from email_people import request_token
from federation.certificates import Authority
from mail_server import MailServer
from plugin_kit import server_with
from server_kit import Server

from homeserver.runtime.clock import ManualClock
from homeserver.services.mail.templates import BadTemplate
from homeserver.storage import outgoing_mail


async def waiting(server: Server) -> int:
    return await server.homeserver.database.read(outgoing_mail.count_waiting)


async def none_waits(server: Server) -> None:
    async with asyncio.timeout(10):
        while await waiting(server):
            await asyncio.sleep(0.01)


async def test_a_mail_server_that_is_away_loses_nothing(tmp_path: Path, post: MailServer) -> None:
    await post.down()
    async with server_with(tmp_path, email=post.settings()) as server:
        for name in "abc":
            assert (await request_token(server.client, "register", f"{name}@example.com")).status == 200
        await asyncio.sleep(0.2)
        assert await waiting(server) == 3
        await post.up()
        for name in "abc":
            await post.next_to(f"{name}@example.com")
        await none_waits(server)
    assert len(post.letters) == 3


async def test_neither_does_a_restart(tmp_path: Path, post: MailServer) -> None:
    await post.down()
    async with server_with(tmp_path, email=post.settings()) as server:
        await request_token(server.client, "register", "a@example.com")
        await asyncio.sleep(0.1)
    await post.up()
    async with server_with(tmp_path, email=post.settings()) as server:
        await post.next_to("a@example.com")
        await none_waits(server)


async def test_a_letter_refused_for_now_comes_later_and_holds_up_no_other(tmp_path: Path, post: MailServer) -> None:
    clock = ManualClock()
    post.answers = ["451 greylisted"]
    async with server_with(tmp_path, email=post.settings(), clock=clock) as server:
        await request_token(server.client, "register", "a@example.com")
        await request_token(server.client, "register", "b@example.com")
        await post.next_to("b@example.com")
        assert await waiting(server) >= 1
        async with asyncio.timeout(10):
            while not any(letter.recipient == "a@example.com" for letter in post.letters):
                await clock.advance(20)
                await asyncio.sleep(0.02)
        await none_waits(server)


async def test_a_letter_refused_for_good_is_given_up(birdhouse: Server, post: MailServer) -> None:
    post.answers = ["550 no such mailbox"]
    await request_token(birdhouse.client, "register", "a@example.com")
    await none_waits(birdhouse)
    assert post.letters == []


async def test_links_that_have_expired_are_not_sent(tmp_path: Path, post: MailServer) -> None:
    clock = ManualClock()
    await post.down()
    async with server_with(tmp_path, email=post.settings(), clock=clock) as server:
        await request_token(server.client, "register", "a@example.com")
        await asyncio.sleep(0.1)
        await clock.advance(3_601)
        await post.up()
        async with asyncio.timeout(10):
            while await waiting(server):
                await clock.advance(60)
                await asyncio.sleep(0.02)
    assert post.letters == []


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    is_right = mechanism == "PLAIN" and (data.login, data.password) == (b"starling", b"seeds")
    return AuthResult(success=is_right)


# The mail server of the tests warns of itself.
@pytest.mark.filterwarnings("ignore:Session.login_data is deprecated", "ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_encrypted_and_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: str) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    context = authority.context_for("127.0.0.1")
    options: dict[str, Any] = {"authenticator": _authenticate, "auth_required": True}
    if tls == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    post = MailServer(
        smtp_options={**options, "auth_require_tls": tls == "starttls"}, wrapped=None if tls == "starttls" else context
    )
    await post.up()
    try:
        for password, arrives in (("wrong", False), ("seeds", True)):
            email = post.settings(tls=tls, username="starling", password=password)
            async with server_with(tmp_path, email=email) as server:
                await request_token(server.client, "register", f"{password}@example.com")
                if arrives:
                    await post.next_to("seeds@example.com")
                    await none_waits(server)
                else:
                    await asyncio.sleep(0.3)
                    assert (await waiting(server), post.letters) == (1, [])
    finally:
        await post.down()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_nothing_is_sent_in_the_clear_where_encryption_is_demanded(
    tmp_path: Path, post: MailServer, tls: str
) -> None:
    async with server_with(tmp_path, email=post.settings(tls=tls, timeout="1s")) as server:
        await request_token(server.client, "register", "a@example.com")
        await asyncio.sleep(0.3)
        assert (await waiting(server), post.letters) == (1, [])


async def test_the_queue_is_bounded(tmp_path: Path, post: MailServer) -> None:
    await post.down()
    async with server_with(tmp_path, email=post.settings(queue_limit=2)) as server:
        statuses = [(await request_token(server.client, "register", f"{name}@example.com")).status for name in "abc"]
        assert statuses == [200, 200, 503]


async def test_nothing_secret_is_logged(tmp_path: Path, post: MailServer) -> None:
    stream = io.StringIO()
    with structlog.testing.capture_logs() as lines:
        post.answers = ["550 no mailbox for a@example.com"]
        async with server_with(tmp_path, email=post.settings()) as server:
            await request_token(server.client, "register", "a@example.com")
            await none_waits(server)
            await request_token(server.client, "register", "b@example.com")
            letter = await post.next_to("b@example.com")
            await none_waits(server)
            await post.down()
            await request_token(server.client, "register", "c@example.com")
            await asyncio.sleep(0.1)
    print(lines, file=stream)
    assert {"e-mail sent", "e-mail refused", "mail server is away"} <= {line["event"] for line in lines}
    for secret in ("@example.com", letter.code, letter.link):
        assert secret not in stream.getvalue()


async def test_templates_of_ones_own(tmp_path: Path, post: MailServer) -> None:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "verify_register.txt").write_text("Subject: Ahoy $address\n\nOur own words: $link")
    (folder / "verify_register.html").write_text("<p>$app_name &amp; <b>$code</b></p>")
    email = post.settings(template_directory=str(folder), app_name="A <B>")
    async with server_with(tmp_path, email=email) as server:
        await request_token(server.client, "register", "a&b@example.com")
        letter = await post.next_to("a&b@example.com")
        assert letter.subject == "Ahoy a&b@example.com"
        assert letter.text.startswith("Our own words: https://example.org/")
        assert "<p>A &lt;B&gt; &amp; <b>" in letter.html
        assert "<title>Ahoy a&amp;b@example.com</title>" in letter.html


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Subject: x\n\n$lnk", "asks for lnk"),
        ("Subject: x\n\n$ 5", "no placeholder"),
        ("Hello\n\n$link", "must begin with"),
    ],
)
async def test_templates_that_cannot_be_used_stop_the_start(
    tmp_path: Path, post: MailServer, text: str, complaint: str
) -> None:
    (tmp_path / "verify_add.txt").write_text(text)
    with pytest.raises(BadTemplate, match=complaint):
        async with server_with(tmp_path, email=post.settings(template_directory=str(tmp_path))):
            pass
