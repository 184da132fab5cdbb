"""What people do with their addresses, step by step, as clients and browsers do it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from mail_server import Letter, MailServer
from server_kit import V3, Server, User

from homeserver.testing import Answer, AsgiClient

PASSWORD = "correct horse battery"
SECRET = "client.secret-1"


async def request_token(client: AsgiClient, kind: str, address: str, **changes: Any) -> Answer:
    """`kind` is `register`, `account/password` or `account/3pid`."""
    body = {"client_secret": SECRET, "email": address, "send_attempt": 1, **changes}
    return await client.post(f"{V3}/{kind}/email/requestToken", body)


async def follow(client: AsgiClient, letter: Letter) -> Answer:
    """Open the link, and press the button; what the browser shows then."""
    page = await client.get(letter.link)
    assert (page.status, b"<button>" in page.body) == (200, True), page.body
    return await press(client, letter)


async def press(client: AsgiClient, letter: Letter) -> Answer:
    path, _, _ = letter.link.partition("?")
    given = parse_qs(urlsplit(letter.link).query)
    form = f"sid={given['sid'][0]}&token={given['token'][0]}"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return await client.request("POST", path, body=form.encode(), headers=headers)


def credentials(sid: str, secret: str = SECRET) -> dict[str, Any]:
    return {"type": "m.login.email.identity", "threepid_creds": {"sid": sid, "client_secret": secret}}


async def confirmed(server: Server, post: MailServer, kind: str, address: str) -> str:
    """Ask for a message and follow its link; the session."""
    count = len([letter for letter in post.letters if letter.recipient == address])
    sid = str((await request_token(server.client, kind, address)).json["sid"])
    letter = await post.next_to(address, count + 1)
    assert (await follow(server.client, letter)).status == 200
    return sid


async def sign_up(server: Server, post: MailServer, name: str, address: str) -> User:
    """Open an account with an address."""
    body = {"username": name, "password": PASSWORD}
    session = (await server.client.post(f"{V3}/register", body)).json["session"]
    sid = await confirmed(server, post, "register", address)
    made = await server.client.post(f"{V3}/register", {**body, "auth": {**credentials(sid), "session": session}})
    assert made.status == 200, made.body
    return User(made.json["user_id"], server.client.with_token(made.json["access_token"]), made.json["device_id"])


async def add(user: User, sid: str) -> Answer:
    """Add the address of a confirmed session to an account, with the password."""
    body = {"sid": sid, "client_secret": SECRET}
    asked = await user.ask("POST", "/account/3pid/add", body)
    assert asked.status == 401, asked.body
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": PASSWORD,
        "session": asked.json["session"],
    }
    return await user.ask("POST", "/account/3pid/add", {**body, "auth": auth})


async def log_in(client: AsgiClient, address: str, password: str = PASSWORD) -> Answer:
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": address}
    return await client.post(
        f"{V3}/login", {"type": "m.login.password", "identifier": identifier, "password": password}
    )


async def addresses(user: User) -> list[str]:
    return [one["address"] for one in (await user.call("GET", "/account/3pid"))["threepids"]]
