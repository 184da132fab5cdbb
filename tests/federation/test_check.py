"""`homeserver federation check`: each fault on the way to a server is told in a sentence that says what to do."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner
from federation.certificates import Authority
from federation.network import FakeServer, free_port

from homeserver.app.federation_check import check_server
from homeserver.cli import main
from homeserver_config.settings import Settings
from homeserver_federation.check import Finding

_QUERY = ("GET", "/_matrix/federation/v1/query/directory")
_VERSION = ("GET", "/_matrix/federation/v1/version")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def answering(content: Any, status: int = 200) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(content, status=status)

    return answer


@asynccontextmanager
async def played(tls: ssl.SSLContext | None) -> AsyncIterator[FakeServer]:
    """A server at an address of its own, in good order."""
    port = free_port()
    fake = FakeServer(f"127.0.0.1:{port}")
    fake.port = port
    fake.routes[_VERSION] = answering({"server": {"name": "Played", "version": "1.2"}})
    fake.routes[_QUERY] = answering({"errcode": "M_NOT_FOUND", "error": "no such alias"}, 404)
    await fake.listen(tls)
    try:
        yield fake
    finally:
        await fake.hang_up()


def settings_of(folder: Path, authority: Authority, **sections: Any) -> Settings:
    return Settings.model_validate(
        {
            "server": {"server_name": "alpha.test", "data_directory": str(folder)},
            "federation": {"ca_certificates": [str(authority.path)]},
            "outgoing": {"ip_ranges_allowed": ["127.0.0.0/8"]},
            **sections,
        }
    )


def faults(findings: list[Finding]) -> list[str]:
    return [finding.sentence for finding in findings if finding.is_fault]


async def test_a_server_in_good_order(tmp_path: Path, authority: Authority) -> None:
    settings = settings_of(tmp_path, authority)
    settings.signing_key_path.write_text("ed25519 a_test a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s\n")
    async with played(authority.context_for("127.0.0.1", days=90)) as fake:
        findings = await check_server(settings, fake.name)
    assert faults(findings) == []
    said = "\n".join(finding.sentence for finding in findings)
    assert "good for 89 more days" in said
    assert "It is Played 1.2." in said
    assert f"signs with {fake.key.key_id}" in said
    assert f"{fake.name} reaches alpha.test and accepts its signatures." in said


async def test_certificates(tmp_path: Path, authority: Authority) -> None:
    settings = settings_of(tmp_path, authority)
    other = Authority(_folder(tmp_path / "other"))
    for context, told in (
        (authority.context_for("beta.test"), "is for beta.test, and must be for 127.0.0.1"),
        (authority.context_for("127.0.0.1", days=-2), "expired on"),
        (other.context_for("127.0.0.1"), "is not trusted"),
        (None, "Check that this port speaks TLS"),
    ):
        async with played(context) as fake:
            [fault] = faults(await check_server(settings, fake.name))
        assert told in fault
    async with played(authority.context_for("127.0.0.1")) as fake:
        findings = await check_server(settings, fake.name)
        assert faults(findings) == []
        assert any("Renew it soon" in finding.sentence for finding in findings)


async def test_what_answers_is_not_the_server(tmp_path: Path, authority: Authority) -> None:
    settings = settings_of(tmp_path, authority)
    async with played(authority.context_for("127.0.0.1")) as fake:
        fake.keys = FakeServer("other.test").keys
        assert "calls itself other.test" in faults(await check_server(settings, fake.name))[0]
        fake.routes[_VERSION] = answering({"welcome": "to nginx"}, 404)
        assert "A reverse proxy must pass everything" in faults(await check_server(settings, fake.name))[0]
        denied = settings_of(tmp_path, authority, outgoing={})
        assert "outgoing.ip_ranges_allowed" in faults(await check_server(denied, fake.name))[0]


async def test_a_server_that_does_not_take_our_signature(tmp_path: Path, authority: Authority) -> None:
    settings = settings_of(tmp_path, authority)
    settings.signing_key_path.write_text("ed25519 a_test a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s\n")
    async with played(authority.context_for("127.0.0.1")) as fake:
        fake.routes[_QUERY] = answering({"errcode": "M_UNAUTHORIZED", "error": "no keys of alpha.test"}, 401)
        [fault] = faults(await check_server(settings, fake.name))
        assert "homeserver federation check alpha.test" in fault
        own = settings_of(tmp_path, authority, server={"server_name": fake.name, "data_directory": str(tmp_path)})
        [fault] = faults(await check_server(own, fake.name))
        assert "not the signing key of this server" in fault


def test_the_command_ends_with_a_status(tmp_path: Path, authority: Authority) -> None:
    config = tmp_path / "homeserver.yaml"
    config.write_text(yaml.safe_dump(settings_of(tmp_path, authority).model_dump(mode="json", include={"server"})))
    result = CliRunner().invoke(main, ["federation", "check", f"127.0.0.1:{free_port()}", "-c", str(config)])
    assert result.exit_code == 1
    assert "FAULT  Nobody listens on port" in result.output
    result = CliRunner().invoke(main, ["federation", "check", "not/a/name", "-c", str(config)])
    assert result.exit_code == 1
    assert "is not the name of a server" in result.output


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
