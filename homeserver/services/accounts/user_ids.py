"""Who is meant: user names people choose, and the identifiers they log in with.

Spec: client-server-api #identifier-types
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError, bad_json, forbidden, missing_param, unknown
from homeserver.protocol.identifiers import MAX_IDENTIFIER_BYTES, is_new_localpart

if TYPE_CHECKING:
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.third_party_ids.ports import AddressOwners


def user_id_of(localpart: str, server_name: str) -> str:
    return f"@{localpart}:{server_name}"


def check_localpart(username: str, server_name: str) -> str:
    """The localpart a chosen user name stands for, in lower case; M_INVALID_USERNAME if it cannot be one."""
    localpart = username.lower()
    if not is_new_localpart(localpart):
        raise _invalid("A user name may hold only the characters a-z, 0-9, and . _ = - / +")
    if len(user_id_of(localpart, server_name)) > MAX_IDENTIFIER_BYTES:
        raise _invalid(f"A user ID may have at most {MAX_IDENTIFIER_BYTES} characters.")
    return localpart


def check_not_reserved(localpart: str) -> None:
    """M_INVALID_USERNAME for names that start with an underscore: by custom those of application services."""
    if localpart.startswith("_"):
        raise _invalid("A user name may not begin with an underscore.")


def random_localpart(randomness: Randomness) -> str:
    """A localpart for somebody who chose none."""
    return randomness.letters(12).lower()


def random_device_id(randomness: Randomness) -> str:
    return randomness.letters(10).upper()


def identified_user_ids(body: Mapping[str, Any], server_name: str) -> list[str]:
    """The user IDs a login may mean, likeliest first, from its `identifier` or the older keys beside it.

    M_FORBIDDEN for third-party identifiers this server cannot know and for users of other servers.
    """
    user = _named_user(body)
    if not user.startswith("@"):
        user = user_id_of(user, server_name)
    if user.partition(":")[2] != server_name:
        raise forbidden("This user belongs to another server.")
    return list(dict.fromkeys((user, user.lower())))


async def find_user_ids(body: Mapping[str, Any], server_name: str, owners: AddressOwners) -> list[str]:
    """The same with e-mail addresses and telephone numbers of accounts.

    An address of nobody gives a user ID of nobody: whoever guesses learns no more than from a wrong password.
    """
    identifier = body.get("identifier")
    named = identifier if isinstance(identifier, dict) else body if "user" not in body else {}
    kind = named.get("type") if named is identifier else None
    if kind == "m.id.phone":
        country, number = _text(named, "country"), _text(named, "phone" if "phone" in named else "number")
        return [await owners.find_owner_of_number(country, number) or user_id_of(f" {country} {number}", server_name)]
    if kind == "m.id.thirdparty" or (kind is None and "medium" in named):
        medium, address = _text(named, "medium"), _text(named, "address")
        owner = await owners.find_owner(medium, address)
        return [owner or user_id_of(f" {medium} {address.casefold()}", server_name)]
    return identified_user_ids(body, server_name)


def _named_user(body: Mapping[str, Any]) -> str:
    identifier = body.get("identifier")
    if identifier is None:
        if "user" in body:
            return _text(body, "user")
        if "medium" in body or "address" in body:
            raise _no_such_third_party_id()
        raise missing_param("`identifier` is missing.")
    if not isinstance(identifier, dict):
        raise bad_json("`identifier` must be an object.")
    kind = identifier.get("type")
    if kind == "m.id.user":
        return _text(identifier, "user")
    if kind in ("m.id.thirdparty", "m.id.phone") or (kind is None and "medium" in identifier):
        raise _no_such_third_party_id()
    if kind is None:
        raise missing_param("`identifier.type` is missing.")
    raise unknown(f"The identifier type {kind!r} is not known.")


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if value is None:
        raise missing_param(f"`{key}` is missing.")
    if not isinstance(value, str):
        raise bad_json(f"`{key}` must be a string.")
    return value


def _no_such_third_party_id() -> MatrixError:
    return forbidden("No account here has this third-party identifier.")


def _invalid(sentence: str) -> MatrixError:
    return MatrixError("M_INVALID_USERNAME", sentence, 400)
