"""`Passwords`: argon2id, imported bcrypt hashes, the pepper, and the policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest
from accounts_app import PASSWORD, V3, AccountsApp, password_of

from homeserver.protocol.errors import MatrixError
from homeserver.services.accounts.passwords import Passwords, Verification
from homeserver.storage import accounts
from homeserver_config.sections.passwords import PasswordSettings

CHEAP: dict[str, Any] = {"argon2_memory": 8192, "argon2_iterations": 1}


def make(**settings: Any) -> Passwords:
    return Passwords(PasswordSettings.model_validate({**CHEAP, **settings}))


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = make()
    yield made
    made.close()


async def test_right_and_wrong(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert await passwords.verify(PASSWORD, stored) == Verification(True)
    assert await passwords.verify("wrong", stored) == Verification(False)
    assert await passwords.verify(PASSWORD, None) == Verification(False)
    assert await passwords.verify(PASSWORD, "nonsense") == Verification(False)
    assert await passwords.verify("x" * 10_000, stored) == Verification(False)


async def test_one_password_in_two_unicode_forms(passwords: Passwords) -> None:
    assert (await passwords.verify("cafe\u0301 au lait", await passwords.hash("caf\u00e9 au lait"))).is_right


async def test_cheaper_hashes_are_renewed(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    dearer = make(argon2_iterations=2)
    verification = await dearer.verify(PASSWORD, stored)
    assert verification.new_hash is not None
    assert await dearer.verify(PASSWORD, verification.new_hash) == Verification(True)
    dearer.close()


async def test_the_pepper_counts() -> None:
    plain, peppered = make(), make(pepper="salt")
    stored = await peppered.hash(PASSWORD)
    assert (await peppered.verify(PASSWORD, stored)).is_right
    assert not (await plain.verify(PASSWORD, stored)).is_right
    plain.close()
    peppered.close()


async def test_imported_bcrypt_hashes_log_in_and_are_replaced(app: AccountsApp) -> None:
    await app.accounts.create("alice")
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    await app.database.write(accounts.set_password_hash, "@alice:example.org", stored)
    login = {"type": "m.login.password", **password_of("alice")}
    assert (await app.client.post(f"{V3}/login", {**login, "password": "wrong"})).status == 403
    assert (await app.client.post(f"{V3}/login", login)).status == 200
    user = await app.accounts.get_active("@alice:example.org")
    assert user.password_hash is not None
    assert user.password_hash.startswith("$argon2id$")
    assert (await app.client.post(f"{V3}/login", login)).status == 200


@pytest.mark.parametrize(
    ("settings", "password", "errcode"),
    [
        ({}, "1234567", "M_WEAK_PASSWORD"),
        ({}, "x" * 513, "M_INVALID_PARAM"),
        ({"require_digit": True}, "abcdefgh", "M_WEAK_PASSWORD"),
        ({"require_lowercase": True}, "ABCDEFGH", "M_WEAK_PASSWORD"),
        ({"require_uppercase": True}, "abcdefgh", "M_WEAK_PASSWORD"),
        ({"require_symbol": True}, "abcdefg1", "M_WEAK_PASSWORD"),
    ],
)
def test_policy(settings: dict[str, Any], password: str, errcode: str) -> None:
    passwords = make(**settings)
    with pytest.raises(MatrixError, match=errcode):
        passwords.check_policy(password)
    passwords.check_policy("Abcdefg-1")
    passwords.close()
