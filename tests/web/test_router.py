"""The trie router: precedence, percent-encoding, trailing slashes, unknown paths and methods.
Through the trie itself where the path is the point, through the application where the answer is.
"""

from typing import Any

import pytest

from homeserver.protocol.errors import MatrixError
from homeserver.web.endpoint import Auth, endpoint, routes_of
from homeserver.web.request import Request
from homeserver.web.router import RouteTrie, raw_path_of


class Rooms:
    @endpoint(
        "PUT",
        ["/rooms/{roomId}/state/{eventType}/{stateKey}", "/rooms/{roomId}/state/{eventType}/"],
        auth=Auth.NONE,
    )
    async def put_state(self, request: Request) -> Any: ...

    @endpoint("GET", "/rooms/{roomId}/state", auth=Auth.NONE)
    async def get_state(self, request: Request) -> Any: ...

    @endpoint("GET", "/rooms/{roomId}/{kind}", auth=Auth.NONE)
    async def get_anything(self, request: Request) -> Any: ...

    @endpoint("GET", "/keys/changes", auth=Auth.NONE)
    async def key_changes(self, request: Request) -> Any: ...

    @endpoint("PUT", "/keys/{name}", auth=Auth.NONE)
    @endpoint("DELETE", "/keys/{keyName}", auth=Auth.NONE)
    async def put_key(self, request: Request) -> Any: ...

    @endpoint("GET", "/pages/{path*}", auth=Auth.NONE)
    async def page(self, request: Request) -> Any: ...


@pytest.fixture
def trie() -> RouteTrie:
    return RouteTrie(routes_of(Rooms()))


def parameters(trie: RouteTrie, method: str, path: str) -> dict[str, str]:
    match = trie.find(method, path)
    assert match.route is not None
    return match.parameters


def test_static_segments_win_over_parameters(trie: RouteTrie) -> None:
    match = trie.find("GET", "/rooms/!a:b/state")
    assert match.route is not None
    assert match.route.path == "/rooms/{roomId}/state"
    assert parameters(trie, "GET", "/rooms/!a:b/other") == {"roomId": "!a:b", "kind": "other"}


def test_a_static_segment_without_the_method_gives_way_to_a_parameter(trie: RouteTrie) -> None:
    assert parameters(trie, "PUT", "/keys/changes") == {"name": "changes"}


def test_each_route_keeps_its_own_parameter_names(trie: RouteTrie) -> None:
    assert parameters(trie, "DELETE", "/keys/k") == {"keyName": "k"}


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [("a%2Fb", "a/b"), ("%2e%2e", ".."), ("a%252Fb", "a%2Fb"), ("a+b", "a+b"), ("%C3%A4", "ä"), ("100%", "100%")],
)
def test_a_parameter_is_decoded_once(trie: RouteTrie, raw: str, decoded: str) -> None:
    path = f"/rooms/!r/state/m.type/{raw}"
    assert parameters(trie, "PUT", path)["stateKey"] == decoded


def test_an_encoded_static_segment_is_the_same_segment(trie: RouteTrie) -> None:
    assert parameters(trie, "GET", "/rooms/!r/st%61te") == {"roomId": "!r"}


def test_a_trailing_slash_is_an_empty_parameter_where_the_route_says_so(trie: RouteTrie) -> None:
    expected = {"roomId": "!r", "eventType": "m.type", "stateKey": ""}
    assert parameters(trie, "PUT", "/rooms/!r/state/m.type/") == expected


@pytest.mark.parametrize(
    "path", ["/rooms/!r/state/", "/rooms//state", "/rooms", "/rooms/", "/", "", "//rooms/!r/state"]
)
def test_no_route_without_a_declared_slash_or_with_an_empty_segment(trie: RouteTrie, path: str) -> None:
    match = trie.find("GET", path)
    assert (match.route, match.allowed) == (None, ())


def test_the_rest_of_a_path(trie: RouteTrie) -> None:
    assert parameters(trie, "GET", "/pages/css/a%20b.css") == {"path": "css/a b.css"}
    assert trie.find("POST", "/pages/x").allowed == ("GET",)


def test_a_wrong_method_tells_the_right_ones(trie: RouteTrie) -> None:
    assert set(trie.find("POST", "/keys/changes").allowed) == {"GET", "PUT", "DELETE"}


def test_head_goes_to_get(trie: RouteTrie) -> None:
    match = trie.find("HEAD", "/rooms/!r/state")
    assert match.route is not None
    assert match.route.method == "GET"


def test_a_path_that_is_not_utf8_is_the_callers_mistake(trie: RouteTrie) -> None:
    with pytest.raises(MatrixError) as caught:
        trie.find("GET", "/rooms/%ff/state")
    assert caught.value.errcode == "M_INVALID_PARAM"


def test_two_claims_on_one_path_stop_the_start() -> None:
    with pytest.raises(ValueError, match="claimed by"):
        RouteTrie([*routes_of(Rooms()), *routes_of(Rooms())])


def test_a_rest_of_the_path_in_the_middle_is_refused() -> None:
    class Wrong:
        @endpoint("GET", "/a/{rest*}/b", auth=Auth.NONE)
        async def get(self, request: Request) -> Any: ...

    with pytest.raises(ValueError, match="only the last segment"):
        RouteTrie(routes_of(Wrong()))


def test_a_method_with_too_few_arguments_stops_the_start() -> None:
    class Wrong:
        @endpoint("PUT", "/a", auth=Auth.USER, body=dict)
        async def put(self, request: Request, requester: object) -> Any: ...

    with pytest.raises(TypeError, match="called with 3 arguments"):
        routes_of(Wrong())


def test_a_server_without_raw_path_is_served_from_the_decoded_one() -> None:
    assert raw_path_of({"path": "/rooms/!ä b"}) == "/rooms/!%C3%A4%20b"
    assert raw_path_of({"path": "/x", "raw_path": b"/x%2Fy"}) == "/x%2Fy"
