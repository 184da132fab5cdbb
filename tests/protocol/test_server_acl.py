from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol.json_strategies import any_values, objects_with

from homeserver.protocol.server_acl import ServerAcl


def allows(server: str, **content: Any) -> bool:
    return ServerAcl.from_content(content).allows(server)


def test_order_of_the_rules() -> None:
    assert allows("good.com", allow=["*"], deny=["evil.com"])
    assert not allows("evil.com", allow=["*"], deny=["evil.com"])
    assert not allows("other.com", allow=["good.com"])
    assert not allows("good.com")
    assert not allows("good.com", allow=[])


@pytest.mark.parametrize("server", ["evil.com", "evil.com:8448", "EVIL.com:1", "www.evil.com"])
def test_ports_and_case_do_not_matter(server: str) -> None:
    assert not allows(server, allow=["*"], deny=["*Evil.COM"])
    assert allows(server, allow=["*EVIL.com"])


def test_globs() -> None:
    assert allows("a1.com", allow=["a?.com"])
    assert not allows("a12.com", allow=["a?.com"])
    assert not allows("a.com", allow=["a?.com"])
    assert not allows("axcom", allow=["a.com"])
    assert allows("x.evil.com", allow=["*"], deny=["evil.com"])


@pytest.mark.parametrize("server", ["1.2.3.4", "1.2.3.4:8448", "[::1]", "[::1]:8448"])
def test_ip_literals(server: str) -> None:
    assert allows(server, allow=["*"])
    assert not allows(server, allow=["*"], allow_ip_literals=False)
    for odd in ("false", None, 0, []):
        assert allows(server, allow=["*"], allow_ip_literals=odd)
    assert allows("1.2.3.4.com", allow=["*"], allow_ip_literals=False)


def test_malformed_lists_count_as_missing() -> None:
    assert not allows("a.com", allow="*")
    assert not allows("a.com", allow={"*": 1})
    assert allows("a.com", allow=["*", 5, None], deny="a.com")
    assert allows("a.com", allow=["*"], deny=[["a.com"], 5])


def test_what_is_no_server_name_is_denied() -> None:
    for server in ("", "a b", "a.com:port", "a.com/path"):
        assert not allows(server, allow=["*"])


@given(objects_with("allow", "deny", "allow_ip_literals"), st.text(max_size=10))
def test_never_crashes(content: dict[str, Any], server: str) -> None:
    acl = ServerAcl.from_content(content)
    assert isinstance(acl.allows(server), bool)
    assert isinstance(acl.allows("example.org"), bool)


@given(any_values)
def test_any_list(value: Any) -> None:
    ServerAcl.from_content({"allow": value, "deny": value}).allows("example.org")
