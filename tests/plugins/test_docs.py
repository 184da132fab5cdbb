"""The documentation of plugins: the reference is in step, every plugin has its page, and the lesson's code runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from plugin_kit import server_with
from pydantic import BaseModel

from homeserver.plugin_api import hook_docs
from homeserver.plugin_api.implementations import hook_specifications
from homeserver.plugin_api.loader import find_plugins
from homeserver.testing import path_of
from homeserver_config import read_settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "plugins"
BUNDLED = [
    "call_log",
    "livekit",
    "media_disk",
    "media_s3",
    "media_thumbnails",
    "oauth_login",
    "password_login",
    "push_email",
    "push_gateway",
    "registration_tokens",
    "turn_credentials",
    "web_push",
]


def blocks_of(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in get_args(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from keys_of(inner)


def test_the_reference_is_in_step_and_names_every_hook(tmp_path: Path) -> None:
    assert hook_docs.main(["--check"], ROOT) == 0
    assert hook_docs.main(["--check"], tmp_path) == 1
    text = (ROOT / hook_docs.PLACE).read_text(encoding="utf-8")
    for _, name, _ in hook_specifications():
        assert f"### `{name}`" in text


@pytest.mark.parametrize("name", BUNDLED)
def test_a_plugins_page_names_all_its_settings_and_its_example_is_right(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS / f"{name}.md"
    for secret in ("club.token", "turn.secret", "corp.secret", "livekit.secret", "s3.secret"):
        (tmp_path / secret).write_text("secret" * 8 + "\n")
    example = tmp_path / "homeserver.yaml"
    example.write_text(blocks_of(page, "yaml")[0])
    env = {"FAMILY_TOKEN": "f", "GOOGLE_SECRET": "g", "GITHUB_SECRET": "h"}
    (found,) = find_plugins(read_settings(example, env).plugins)
    assert found.name == name
    model: Any = getattr(found.plugin_class, "Settings", None)
    text = page.read_text(encoding="utf-8")
    for key in keys_of(model) if model is not None else ():
        assert re.search(rf"[`.]{key}`", text), key
    assert f"({name}.md)" in (DOCS / "README.md").read_text(encoding="utf-8")


async def test_the_plugin_of_the_lesson_runs_as_it_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = DOCS / "write_a_plugin.md"
    (code,) = blocks_of(lesson, "python")
    (settings,) = blocks_of(lesson, "yaml")
    (tmp_path / "polite.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    async with server_with(tmp_path, *yaml.safe_load(settings)["plugins"]) as server:
        alice, admin = await server.user("alice"), await server.user("root", admin=True)
        public = await alice.create_room(preset="public_chat")
        private = await alice.create_room()
        refused = await alice.ask("PUT", path_of("rooms", public, "send", "m.room.message", "1"), {"body": "Darn it"})
        assert (refused.status, refused.json["error"]) == (403, "Please be polite.")
        await alice.say(private, "Darn it")
        await alice.say(public, "Good morning")
        assert (await admin.client.get("/_polite/count")).json == {"refused": 1}
        assert (await alice.client.get("/_polite/count")).status == 403
