"""Logins with tokens of another system, made here by hand and not with the library that reads them."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from plugin_kit import server_with
from server_kit import Server

from homeserver.plugin_api.loader import find_plugins
from homeserver.runtime.clock import ManualClock
from homeserver.testing import Answer
from homeserver_config import ConfigError, read_settings

SECRET = "0123456789abcdef0123456789abcdef"
NOW_S = 1_700_000_000
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    signed = f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(claims)}"
    if algorithm == "none":
        return signed + "."
    if algorithm == "RS256":
        return f"{signed}.{encoded(RSA_KEY.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"
    return f"{signed}.{encoded(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def plugin(**settings: Any) -> dict[str, Any]:
    return {"name": "jwt_login", "settings": {"algorithm": "HS256", "secret": SECRET, **settings}}


async def log_in(server: Server, made: object) -> Answer:
    body = {"type": "org.matrix.login.jwt", "token": made}
    return await server.client.request("POST", "/_matrix/client/v3/login", json=body)


async def test_the_first_login_opens_an_account_and_the_next_finds_it(tmp_path: Path) -> None:
    async with server_with(tmp_path, plugin(display_name_claim="name"), clock=ManualClock(NOW_S * 1000)) as server:
        flows = (await server.client.get("/_matrix/client/v3/login")).json["flows"]
        assert {"type": "org.matrix.login.jwt"} in flows
        made = token({"sub": "Alice", "name": "Alice A.", "exp": NOW_S + 60})
        answers = [await log_in(server, made) for _ in range(2)]
        assert [answer.json["user_id"] for answer in answers] == ["@alice:example.org"] * 2
        client = server.client.with_token(answers[0].json["access_token"])
        profile = await client.get("/_matrix/client/v3/profile/@alice:example.org")
        assert profile.json["displayname"] == "Alice A."


REFUSED: list[tuple[object, str]] = [
    (None, "M_MISSING_PARAM"),
    (7, "M_BAD_JSON"),
    ("x" * 20_000, "M_BAD_JSON"),
    ("no token", "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "portal", "aud": "matrix"}, secret="f" * 32), "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "portal", "aud": "matrix"}, algorithm="none"), "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "portal", "aud": "matrix"}, algorithm="RS256"), "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "portal", "aud": "matrix", "exp": NOW_S - 31}), "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "portal", "aud": "matrix", "nbf": NOW_S + 31}), "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "another", "aud": "matrix"}), "M_FORBIDDEN"),
    (token({"sub": "alice", "aud": "matrix"}), "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "portal", "aud": ["mail"]}), "M_FORBIDDEN"),
    (token({"sub": "alice", "iss": "portal"}), "M_FORBIDDEN"),
    (token({"iss": "portal", "aud": "matrix"}), "M_FORBIDDEN"),
    (token({"sub": ["alice"], "iss": "portal", "aud": "matrix"}), "M_FORBIDDEN"),
    (token({"sub": "not a name!", "iss": "portal", "aud": "matrix"}), "M_INVALID_USERNAME"),
]


async def test_what_proves_nothing_logs_nobody_in(tmp_path: Path) -> None:
    strict = plugin(issuer="portal", audiences=["matrix"])
    async with server_with(tmp_path, strict, clock=ManualClock(NOW_S * 1000)) as server:
        await server.user("alice")
        for made, errcode in REFUSED:
            answer = await log_in(server, made)
            assert (answer.json["errcode"], answer.status) == (errcode, 403 if errcode == "M_FORBIDDEN" else 400), made
        good = token({"sub": "alice", "iss": "portal", "aud": ["mail", "matrix"], "exp": NOW_S - 29})
        assert (await log_in(server, good)).status == 200


async def test_without_creation_only_those_with_an_account_come_in(tmp_path: Path) -> None:
    settings = {"algorithm": "RS256", "public_key": PEM, "create_accounts": False, "subject_claim": "login"}
    async with server_with(tmp_path, {"name": "jwt_login", "settings": settings}) as server:
        await server.user("alice")
        assert (await log_in(server, token({"login": "alice"}, algorithm="RS256"))).status == 200
        assert (await log_in(server, token({"login": "bob"}, algorithm="RS256"))).json["errcode"] == "M_FORBIDDEN"
        # A public key is no secret: what is signed with it as one proves nothing.
        assert (await log_in(server, token({"login": "alice"}, secret=PEM))).json["errcode"] == "M_FORBIDDEN"


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "none"},
        {"algorithm": "HS256"},
        {"algorithm": "HS256", "secret": "short"},
        {"algorithm": "RS256", "secret": SECRET},
        {"algorithm": "ES256", "public_key": PEM},
        {"algorithm": "RS256", "public_key": "no key"},
    ],
)
def test_settings_that_cannot_be_safe_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        find_plugins(read_settings(json.dumps({"plugins": [{"name": "jwt_login", "settings": settings}]})).plugins)
