"""The X-Matrix header: signatures that other implementations make too, and what they write around them."""

from __future__ import annotations

import pytest

from homeserver.protocol.base64 import decode_base64
from homeserver.protocol.signing import SigningKey
from homeserver_federation.x_matrix import NO_CONTENT, XMatrix, authorization_header, is_signed_by, parse_authorization

# The seed of the specification's test vectors; the signatures were made with another library.
KEY = SigningKey("1", decode_base64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"))
PROFILE = "/_matrix/federation/v1/query/profile?user_id=%40bob%3Aother.example&field=displayname"
PROFILE_SIGNATURE = "jO4dlQ6LKvJOx7D5cxOIQa3VGHvxl7h23c8slxH7IgKk70nNCdRRVDtJCPqb75rN/r8ebPvdYE7wuS+jai+WBg"
SEND = "/_matrix/federation/v1/send/1"
SEND_BODY = {"pdus": [], "edus": [], "origin": "domain", "origin_server_ts": 1234567890, "näme": "ünïcode"}
SEND_SIGNATURE = "xy+finE0s6mna2Pn2F1Wg09StnA0SIu4dzR22DTNhEa/1Ksec4vwmdHjCXB26D7qyoJXbPP1ML1YVVoTOwDbCA"
WANTED = XMatrix("origin.example", "dest.example:8448", "ed25519:key1", "c2ln")


def test_a_request_without_a_body() -> None:
    header = authorization_header("GET", PROFILE, "domain", "other.example", KEY)
    assert header == (f'X-Matrix origin="domain",destination="other.example",key="ed25519:1",sig="{PROFILE_SIGNATURE}"')


def test_a_request_with_a_body() -> None:
    header = authorization_header("PUT", SEND, "domain", "other.example", KEY, SEND_BODY)
    assert header.endswith(f'sig="{SEND_SIGNATURE}"')


def test_the_signature_covers_every_part() -> None:
    header = XMatrix("domain", "other.example", "ed25519:1", SEND_SIGNATURE)
    right = {"method": "PUT", "target": SEND, "destination": "other.example", "content": SEND_BODY}

    def holds(**changed: object) -> bool:
        parts = {**right, **changed}
        return is_signed_by(
            header, KEY.verify_key, parts["method"], parts["target"], parts["destination"], parts["content"]
        )

    assert holds()
    assert not holds(method="POST")
    assert not holds(target=SEND + "?")
    assert not holds(destination="third.example")
    assert not holds(content={**SEND_BODY, "extra": 1})
    assert not holds(content=NO_CONTENT)


def test_an_empty_object_is_a_body() -> None:
    with_body = authorization_header("POST", "/x", "a", "b", KEY, {})
    without = authorization_header("POST", "/x", "a", "b", KEY)
    assert with_body != without


@pytest.mark.parametrize(
    "value",
    [
        'X-Matrix origin="origin.example",destination="dest.example:8448",key="ed25519:key1",sig="c2ln"',
        'x-matrix sig="c2ln", key="ed25519:key1" ,\tdestination="dest.example:8448", origin="origin.example"',
        "X-Matrix origin=origin.example,destination=dest.example:8448,key=ed25519:key1,sig=c2ln",
        'X-MATRIX   ORIGIN="origin.example",Destination="dest.example:8448",kEy="ed25519:key1",Sig="c2ln"',
        'X-Matrix origin="origin\\.example",destination="dest.example:8448",key="ed25519:key1",sig="c2ln"',
        'X-Matrix origin="origin.example",destination="dest.example:8448",key="ed25519:key1",sig="c2ln",new="a,b=c"',
        ' X-Matrix origin="origin.example",destination="dest.example:8448",key="ed25519:key1",sig="c2ln",',
    ],
)
def test_lenient_reading(value: str) -> None:
    assert parse_authorization(value) == WANTED


def test_old_servers_name_no_destination() -> None:
    parsed = parse_authorization('X-Matrix origin=a,key="ed25519:1",sig="c2ln"')
    assert parsed == XMatrix("a", None, "ed25519:1", "c2ln")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer token",
        "X-Matrix",
        "X-Matrix origin=a",
        'X-Matrix origin="a,key="ed25519:1",sig="c2ln"',
        'X-Matrix origin=a key="ed25519:1",sig="c2ln"',
        'X-Matrix origin="a",key="ed25519:1"',
    ],
)
def test_what_is_no_such_header(value: str) -> None:
    assert parse_authorization(value) is None
