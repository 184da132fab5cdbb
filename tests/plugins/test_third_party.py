"""A plugin of strangers: built into a wheel, installed beside the server, selected in the YAML, heard everywhere."""

from pathlib import Path
from typing import Any

import pytest
from plugin_kit import server_with
from server_kit import Server, User, bodies, events_of

from homeserver.plugin_api.implementations import hook_specifications
from homeserver.plugin_api.loader import find_plugins, known_names
from homeserver.testing import path_of
from homeserver_config import read_settings

GREETER = {"name": "greeter", "settings": {"banned_words": ["swear"], "greeting": "Hello, stranger!"}}


async def plugin_of(server: Server) -> Any:
    return server.homeserver.plugins.plugins.instances["greeter"]


async def caught_up(server: Server) -> None:
    await server.homeserver.followers.caught_up("plugin greeter")


async def said_in(user: User, room_id: str) -> list[Any]:
    chunk = (await user.messages(room_id, dir="b"))["chunk"]
    return bodies(chunk)


@pytest.mark.usefixtures("greeter")
def test_an_installed_package_is_found_by_its_entry_point() -> None:
    assert "greeter" in known_names()
    (found,) = find_plugins(read_settings("plugins: [{name: greeter, settings: {greeting: Hi}}]").plugins)
    assert found.plugin_class.__module__ == "starling_greeter"
    assert found.settings is not None
    assert found.settings.model_dump() == {"bot": "greeter", "greeting": "Hi", "banned_words": []}


def test_what_is_not_installed_is_not_found() -> None:
    assert "greeter" not in known_names()


@pytest.mark.usefixtures("greeter")
async def test_messages_are_changed_or_refused_and_counted(tmp_path: Path) -> None:
    async with server_with(tmp_path, GREETER) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        await alice.say(room_id, "I swear")
        assert await said_in(alice, room_id) == ["I *****"]
        await alice.set_state(room_id, "m.room.topic", {"topic": "silence"})
        refused = await alice.ask("PUT", path_of("rooms", room_id, "send", "m.room.message", "t"), {"body": "Hush"})
        assert (refused.status, refused.json["error"]) == (403, "This room keeps silence.")
        await caught_up(server)
        count = await alice.client.get("/_greeter/count")
        assert count.json == {"messages": 1, "asked_by": "@alice:example.org"}
        assert (await server.client.get("/_greeter/count")).status == 401


@pytest.mark.usefixtures("greeter")
async def test_rooms_aliases_and_the_directory_are_guarded(tmp_path: Path) -> None:
    async with server_with(tmp_path, GREETER) as server:
        alice = await server.user("alice")
        assert (await alice.ask("POST", "/createRoom", {"name": "swearing"})).status == 403
        room_id = await alice.create_room(name="fine")
        alias = path_of("directory", "room", "#swear:example.org")
        assert (await alice.ask("PUT", alias, {"room_id": room_id})).status == 403
        await alice.call("PUT", path_of("directory", "room", "#fine:example.org"), {"room_id": room_id})
        publish = path_of("directory", "list", "room", room_id)
        assert (await alice.ask("PUT", publish, {"visibility": "public"})).status == 403
        await alice.set_state(room_id, "m.room.topic", {"topic": "cats"})
        await alice.call("PUT", publish, {"visibility": "public"})


@pytest.mark.usefixtures("greeter")
async def test_logins_and_registrations_are_guarded(tmp_path: Path) -> None:
    async with server_with(tmp_path, GREETER) as server:
        register = {"username": "swearer", "password": "correct horse", "auth": {"type": "m.login.dummy"}}
        refused = await server.client.post("/_matrix/client/v3/register", register)
        assert (refused.status, refused.json["error"]) == (403, "This word is not welcome here.")
        await server.homeserver.accounts.accounts.create("bob", password="correct horse")
        login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"}}
        login["password"] = "correct horse"
        assert (await server.client.post("/_matrix/client/v3/login", login)).status == 200
        plugin = await plugin_of(server)
        await plugin._context.store.put("locked out/@bob:example.org", True)
        assert (await server.client.post("/_matrix/client/v3/login", login)).json["error"] == "You are locked out."


@pytest.mark.usefixtures("greeter")
async def test_newcomers_are_greeted_by_a_bot_and_those_who_leave_remembered(tmp_path: Path) -> None:
    async with server_with(tmp_path, GREETER) as server:
        alice = await server.user("alice")
        invites = (await alice.sync())["rooms"]["invite"]
        (room_id,) = invites
        await alice.join(room_id)
        assert bodies(events_of(await alice.sync(), room_id)) == ["Hello, stranger!"]
        await server.homeserver.accounts.accounts.deactivate(alice.user_id, erase=True)
        plugin = await plugin_of(server)
        assert await plugin._context.store.find("gone/@alice:example.org") == {"erased": True}


@pytest.mark.usefixtures("greeter")
async def test_the_server_says_what_the_plugin_adds(tmp_path: Path) -> None:
    async with server_with(tmp_path, GREETER) as server:
        alice = await server.user("alice")
        assert (await alice.call("GET", "/capabilities"))["capabilities"]["org.example.greeter"] == {"enabled": True}
        versions = await server.client.get("/_matrix/client/versions")
        assert versions.json["unstable_features"]["org.example.greeter"] is True
        known = await server.client.get("/.well-known/matrix/client")
        assert known.json["org.example.greeter"] == {"greets": True}


@pytest.mark.usefixtures("greeter")
async def test_what_a_plugin_keeps_and_how_far_it_has_read_survive_a_restart(tmp_path: Path) -> None:
    async with server_with(tmp_path, GREETER) as server:
        alice = await server.user("alice")
        room_id = await alice.create_room()
        await alice.say(room_id, "one")
        await caught_up(server)
    async with server_with(tmp_path, GREETER) as server:
        alice = await server.user("alice", device_id="SECOND")
        await alice.say(room_id, "two")
        await caught_up(server)
        context = (await plugin_of(server))._context
        assert await context.store.find("messages") == 2
        assert await context.store.find("starts") == 2
        assert await context.store.find("stopped") is True
        assert await context.event_log.position() > 0
        await context.event_log.rewind(0)
        await caught_up(server)
        assert await context.store.find("messages") == 4


@pytest.mark.usefixtures("greeter")
def test_every_hook_has_a_bundled_plugin_or_this_one_for_a_user() -> None:
    marked = {hook for name in known_names() for hook in _hooks_of(name)}
    specified = {name for _, name, _ in hook_specifications()}
    assert specified - marked == set()


def _hooks_of(name: str) -> list[str]:
    from homeserver.plugin_api.loader import _load

    target: Any = _load(name)
    plugin_class = getattr(target, "Plugin", target)
    return [
        attribute for attribute in dir(plugin_class) if hasattr(getattr(plugin_class, attribute), "homeserver_impl")
    ]
