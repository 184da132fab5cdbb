"""Registrations: their mistakes, and taking services in and out while the server runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from appservices.bridge import Bridge, Puppeteer, bridged_room
from server_kit import Server, User, running_server

from homeserver_config.application_service import read_registration, read_registrations
from homeserver_config.reader import ConfigError, read_settings

ALL = "/_starling/admin/v1/application_services"
RELOAD = "/_starling/admin/v1/reload_application_services"


def test_every_mistake_is_told_with_its_file_line_and_key(tmp_path: Path) -> None:
    path = tmp_path / "irc.yaml"
    path.write_text(
        "id: irc\nurl: localhost\nas_token: a\nsender_localpart: '@bot:x'\n"
        "namespaces:\n  users:\n    - exclusive: true\n      regex: '@(_irc'\n"
    )
    with pytest.raises(ConfigError) as raised:
        read_registration(path)
    told = str(raised.value).splitlines()
    assert told[0] == f"{path}: hs_token: is missing"
    assert told[1].startswith(f"{path}:2: url: must be a URL")
    assert told[2].startswith(f"{path}:4: sender_localpart: must be the part of a user ID")
    assert told[3].startswith(f"{path}:8: namespaces.users[0].regex: is not a regular expression")
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_registration(tmp_path / "none.yaml")


def test_ids_and_tokens_are_unique(tmp_path: Path) -> None:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_bytes(orjson.dumps(Bridge().registration()))
    with pytest.raises(ConfigError) as raised:
        read_registrations(paths)
    assert str(raised.value).splitlines() == [
        f"{paths[1]}: {key}: is that of {paths[0]} too; it must be unique" for key in ("id", "as_token")
    ]


def test_files_are_found_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "homeserver.yaml").write_text("application_services: [bridges/irc.yaml, /etc/xmpp.yaml]\n")
    settings = read_settings(tmp_path / "homeserver.yaml")
    found = settings.application_services.registrations
    assert found == [tmp_path / "bridges/irc.yaml", Path("/etc/xmpp.yaml")]


def test_what_bridges_write_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "telegram.yaml"
    path.write_text(
        "id: telegram\nurl: http://localhost:29317\nas_token: a\nhs_token: b\nsender_localpart: x1\n"
        "rate_limited: false\nnamespaces:\n  users:\n  - regex: ^@telegram_.*:example.org$\n    exclusive: true\n"
        "    group_id: +x:y\n  rooms:\nde.sorunome.msc2409.push_ephemeral: true\npush_ephemeral: true\n"
        "org.matrix.msc3202: true\nio.element.msc4190: true\nsomething_else: 1\n"
    )
    found = read_registration(path)
    assert found.msc2409_push_ephemeral
    assert found.msc3202
    assert found.msc4190
    assert found.namespaces.rooms == []


async def admin_of(server: Server) -> User:
    return await server.user("root", admin=True)


async def ask(user: User, method: str, path: str, body: Any = None) -> Any:
    return await user.client.request(method, path, json=body)


async def test_registration_at_run_time(bridge: Bridge, tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        root, alice, puppeteer = await admin_of(server), await server.user("alice"), Puppeteer(server)
        registration = bridge.registration()
        assert (await ask(alice, "PUT", f"{ALL}/irc", registration)).status == 403
        assert (await puppeteer.ask("GET", "/account/whoami")).status == 401
        bad = await ask(root, "PUT", f"{ALL}/irc", {**registration, "url": 1, "hs_token": ""})
        assert (bad.status, bad.json["errcode"]) == (400, "M_BAD_JSON")
        assert "url: " in bad.json["error"]
        assert "hs_token: must not be empty" in bad.json["error"]
        assert (await ask(root, "PUT", f"{ALL}/other", registration)).status == 400

        made = await ask(root, "PUT", f"{ALL}/irc", registration)
        assert (made.status, made.json["sender"], made.json["source"]) == (200, "@_irc_bot:example.org", "run time")
        room_id = await bridged_room(server, puppeteer, alice)
        await alice.say(room_id, "one")
        await bridge.body_arrives("one")
        twin = await ask(root, "PUT", f"{ALL}/twin", {**registration, "id": "twin"})
        assert (twin.status, "must be unique" in twin.json["error"]) == (400, True)
        # Changed while it runs: nothing is lost, nothing comes twice.
        assert (await ask(root, "PUT", f"{ALL}/irc", {**registration, "protocols": ["irc"]})).status == 200
        await alice.say(room_id, "two")
        await bridge.body_arrives("two")
    async with running_server(tmp_path) as server:
        root, alice = await server.user("root"), await server.user("alice")
        listed = (await ask(root, "GET", ALL)).json["application_services"]
        assert [(one["id"], one["protocols"]) for one in listed] == [("irc", ["irc"])]
        await alice.say(room_id, "three")
        await bridge.body_arrives("three")
        said = [event["content"]["body"] for event in bridge.events if "body" in event["content"]]
        assert said == ["one", "two", "three"]
        assert (await ask(root, "DELETE", f"{ALL}/irc")).status == 200
        assert (await Puppeteer(server).ask("GET", "/account/whoami")).status == 401
        assert (await ask(root, "DELETE", f"{ALL}/irc")).status == 404
        assert (await ask(root, "GET", f"{ALL}/irc")).status == 404


async def test_files_are_read_again(bridge: Bridge, registration: Path, tmp_path: Path) -> None:
    second = tmp_path / "xmpp.yaml"
    xmpp = bridge.registration(id="xmpp", as_token="another", sender_localpart="_xmpp_bot")
    second.write_bytes(orjson.dumps(xmpp))
    async with running_server(tmp_path, application_services=[str(registration), str(second)]) as server:
        root = await admin_of(server)
        assert (await ask(root, "POST", RELOAD)).json == {"changed": []}
        assert (await ask(root, "DELETE", f"{ALL}/irc")).status == 403
        assert (await ask(root, "PUT", f"{ALL}/irc", bridge.registration())).status == 403
        registration.write_text("id: irc")
        broken = await ask(root, "POST", RELOAD)
        assert (broken.status, "as_token: is missing" in broken.json["error"]) == (400, True)
        assert (await Puppeteer(server).ask("GET", "/account/whoami")).status == 200
        registration.write_bytes(orjson.dumps(bridge.registration(as_token="changed")))
        second.write_bytes(orjson.dumps({**xmpp, "id": "jabber"}))
        assert (await ask(root, "POST", RELOAD)).json == {"changed": ["irc", "jabber", "xmpp"]}
        assert (await Puppeteer(server).ask("GET", "/account/whoami")).status == 401
        listed = (await ask(root, "GET", ALL)).json["application_services"]
        assert sorted(one["id"] for one in listed) == ["irc", "jabber"]


async def test_figures(server: Server, bridge: Bridge, puppeteer: Puppeteer) -> None:
    alice = await server.user("alice")
    await alice.say(await bridged_room(server, puppeteer, alice), "hello")
    await bridge.body_arrives("hello")
    page = (await server.homeserver.metrics.render()).decode()
    assert 'starling_appservice_transactions_total{id="irc",outcome="sent"}' in page
    assert 'starling_appservice_lag{id="irc"}' in page
