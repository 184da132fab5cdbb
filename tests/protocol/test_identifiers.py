from __future__ import annotations

import pytest

from homeserver.protocol import identifiers as ids
from homeserver.protocol.errors import MatrixError

SERVER_NAMES = [
    "matrix.org",
    "matrix.org:8888",
    "1.2.3.4",
    "1.2.3.4:1234",
    "[1234:5678::abcd]",
    "[1234:5678::abcd]:5678",
]
NOT_SERVER_NAMES = [
    "", "exa mple", "example.org:", "example.org:123456", "example.org:99999", "256.1.1.1", "[::1", "[zz]", "[::g]",
    "ex_ample", "user@host", "a:b:1", "example.org:８０", "[1234:5678::abcd]x",
]  # fmt: skip


@pytest.mark.parametrize("name", SERVER_NAMES)
def test_server_names_of_the_specification(name: str) -> None:
    assert ids.is_server_name(name)
    assert ids.check_server_name(name) == name
    assert ids.is_user_id(f"@someone:{name}")


@pytest.mark.parametrize("name", NOT_SERVER_NAMES)
def test_no_server_names(name: str) -> None:
    assert not ids.is_server_name(name)


def test_split_server_name() -> None:
    assert ids.split_server_name("example.org") == ("example.org", None)
    assert ids.split_server_name("[::1]:8448") == ("[::1]", 8448)
    with pytest.raises(ValueError, match="not a server name"):
        ids.split_server_name("a b")


def test_ip_literals() -> None:
    assert ids.is_ip_literal("1.2.3.4")
    assert ids.is_ip_literal("[::1]")
    assert ids.is_ip_literal("::ffff:1.2.3.4")
    assert not ids.is_ip_literal("1.2.3.4.example.org")
    assert not ids.is_ip_literal("300.1.1.1")


def test_parts() -> None:
    assert ids.server_name_of("@a:[::1]:80") == "[::1]:80"
    assert ids.localpart_of("@a:[::1]:80") == "a"
    assert ids.server_name_of("$hash") == ""


@pytest.mark.parametrize("user", ["@a:b", "@UPPER:b", "@:b", "@sp ace:b", "@日本:b", "@a@b:c"])
def test_user_ids_that_must_be_accepted(user: str) -> None:
    assert ids.is_user_id(user)


@pytest.mark.parametrize("user", ["", "a:b", "@a", "@a:", "@a\x00:b", "@a\ud800:b", "!a:b", "@a:b c"])
def test_no_user_ids(user: str) -> None:
    assert not ids.is_user_id(user)


def test_length_is_counted_in_bytes() -> None:
    assert ids.is_user_id("@" + "a" * 252 + ":b")
    assert not ids.is_user_id("@" + "a" * 253 + ":b")
    assert ids.is_user_id("@" + "é" * 126 + ":b")
    assert not ids.is_user_id("@" + "é" * 127 + ":b")


def test_new_localparts_are_strict() -> None:
    assert ids.is_new_localpart("abc.123_=-/+")
    for localpart in ("", "Abc", "a b", "é", "a:b", "a\n"):
        assert not ids.is_new_localpart(localpart)
    assert ids.is_historical_user_id("@Abc:d")
    assert not ids.is_historical_user_id("@abc:d")


def test_compliant_user_ids() -> None:
    assert ids.is_compliant_user_id("@Abc!:d")
    assert not ids.is_compliant_user_id("@:d")
    assert not ids.is_compliant_user_id("@é:d")


def test_room_ids_in_both_forms() -> None:
    assert ids.is_room_id("!room:example.org")
    assert ids.is_room_id("!Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ")
    for text in ("!room", "!", "room:example.org", "!Nhcu5BS+UMnFX7hBVfVSoXiD7OgH6iRT/xyIuqDnpYQ", "!a:b c", "#a:b"):
        assert not ids.is_room_id(text)


def test_aliases_and_event_ids() -> None:
    assert ids.is_room_alias("#a:b")
    assert not ids.is_room_alias("#:b")
    assert not ids.is_room_alias("#a")
    assert ids.is_event_id("$a")
    assert ids.is_event_id("$a:b")
    assert not ids.is_event_id("$")
    assert not ids.is_event_id("a")
    assert not ids.is_event_id("$" + "a" * 255)


def test_opaque_and_namespaced_ids() -> None:
    assert ids.is_opaque_id("aZ0-._~")
    assert not ids.is_opaque_id("")
    assert not ids.is_opaque_id("a/b")
    assert not ids.is_opaque_id("a" * 256)
    assert ids.is_namespaced_id("m.login.password")
    assert not ids.is_namespaced_id("1m")
    assert not ids.is_namespaced_id("")


@pytest.mark.parametrize(
    "check", [ids.check_user_id, ids.check_room_id, ids.check_room_alias, ids.check_event_id, ids.check_server_name]
)
@pytest.mark.parametrize("value", ["", " ", None, 5, "x" * 300, {"a": 1}])
def test_checks_raise_invalid_param(check: object, value: object) -> None:
    assert callable(check)
    with pytest.raises(MatrixError) as caught:
        check(value)
    assert caught.value.errcode == "M_INVALID_PARAM"


def test_checks_return_their_argument() -> None:
    assert ids.check_user_id("@a:b") == "@a:b"
    assert ids.check_room_id("!a:b") == "!a:b"
    assert ids.check_room_alias("#a:b") == "#a:b"
    assert ids.check_event_id("$a") == "$a"
