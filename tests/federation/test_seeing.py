"""What admins see of federation, and what they can change: reasons, figures, old keys, certificates, proxies."""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from click.testing import CliRunner
from cryptography import x509
from federation.certificates import Authority
from federation.network import FakeServer, Network, eventually
from federation.rooms import public_room
from federation.visitor import visit
from server_process import ServerProcess, free_port

from homeserver.app.certificates import ListenerCertificate
from homeserver.cli import main
from homeserver.protocol.signing import SigningKey, verify_signed_json
from homeserver.runtime.http_client import AddressDenied, HttpClient
from homeserver_config.sections.outgoing import OutgoingSettings

OLD = SigningKey("a_old", b"o" * 32)


async def test_refused_events_are_told_with_their_reasons(network: Network) -> None:
    alpha = await network.add("alpha.test")
    alice = await alpha.user("alice")
    eve = await visit(network, alpha, await public_room(alice))
    forbidden = eve.make("m.room.name", {"name": "Eve's"}, "")
    await eve.send(forbidden)
    folder = network.folder / "alpha.test"
    config = folder / "homeserver.yaml"
    settings = {"server": {"server_name": "alpha.test", "data_directory": str(folder)}}
    config.write_bytes(orjson.dumps({**settings, "database": {"url": f"sqlite:///{folder / 'test.db'}"}}))

    def command(room_id: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["federation", "rejected", room_id, "-c", str(config)])
        return result.exit_code, result.output

    status, said = await asyncio.to_thread(command, eve.room_id)
    assert status == 0, said
    assert f"rejected  m.room.name  {eve.user_id}  {forbidden.event_id}" in said
    assert "power level" in said
    status, said = await asyncio.to_thread(command, "!nowhere:alpha.test")
    assert status == 1
    assert "does not know the room" in said


async def test_figures_name_the_servers_that_fail(network: Network) -> None:
    listeners = [{"port": 0, "resources": ["client", "federation", "metrics"]}]
    alpha = await network.add("alpha.test", listeners=listeners)
    alice = await alpha.user("alice")
    eve = await visit(network, alpha, await public_room(alice))
    await eve.fake.hang_up()
    await alice.say(eve.room_id, "to nobody")

    async def figures() -> dict[str, str]:
        await alpha.federation.sender.look_for_work()
        page = (await alpha.client.get("/metrics")).body.decode()
        return dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))

    async def are_told() -> bool:
        return f'starling_federation_failing_seconds{{server="{eve.fake.name}"}}' in await figures()

    await eventually(are_told)
    told = await figures()
    assert float(told["starling_federation_failing_servers"]) == 1
    assert float(told[f'starling_federation_waiting_events{{server="{eve.fake.name}"}}']) == 1


async def test_old_keys_are_published_with_their_end(network: Network) -> None:
    old = {OLD.key_id: {"key": OLD.verify_key_base64, "expired_ts": 1_700_000_000_000}}
    alpha = await network.add("alpha.test", federation={"old_verify_keys": old})
    answer = (await alpha.client.get("/_matrix/key/v2/server")).json
    assert answer["old_verify_keys"] == old
    key = alpha.homeserver.signing_key
    assert verify_signed_json(answer, "alpha.test", key.key_id, key.verify_key)


async def test_requests_go_through_a_proxy() -> None:
    seen: list[str] = []

    async def pass_on(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.url}")
        return web.json_response({"through": "the proxy"})

    proxy = FakeServer("proxy.test")
    proxy._handle = pass_on  # type: ignore[method-assign]
    await proxy.listen()
    client = HttpClient(OutgoingSettings(proxy=f"http://127.0.0.1:{proxy.port}"))
    try:
        answer = await client.request("GET", "http://beta.test/thing")
        assert answer.json() == {"through": "the proxy"}
        assert seen == ["GET http://beta.test/thing"]
        with pytest.raises(AddressDenied):
            await client.request("GET", "http://10.1.2.3/inside")
    finally:
        await client.close()
        await proxy.hang_up()


def test_a_certificate_that_does_not_fit_is_not_taken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = authority.context_for("alpha.test")
    certificate = tmp_path / "alpha.test.pem"
    listener = ListenerCertificate(certificate, certificate, context)
    assert not listener.renew()
    good = certificate.read_bytes()
    certificate.write_bytes(b"nothing of use")
    assert not listener.renew()
    certificate.write_bytes(good + b"\n")
    assert listener.renew()
    assert not listener.renew()


async def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.context_for("127.0.0.1", days=1)
    files = [tmp_path / "tls.crt", tmp_path / "tls.key"]
    for file in files:
        shutil.copy(tmp_path / "127.0.0.1.pem", file)
    port = free_port()
    listener = {"bind_address": "127.0.0.1", "port": port, "resources": ["federation"]}
    plain = free_port()
    sections = {
        "listeners": [
            {"bind_address": "127.0.0.1", "port": plain},
            {**listener, "tls_certificate": str(files[0]), "tls_key": str(files[1])},
        ]
    }
    server = ServerProcess(tmp_path, sections=sections)
    server.port = plain
    await server.start()
    try:
        first = await _serial_number(port)
        authority.context_for("127.0.0.1", days=2)
        for file in files:
            shutil.copy(tmp_path / "127.0.0.1.pem", file)
        server.signal(signal.SIGHUP)

        async def is_renewed() -> bool:
            return await _serial_number(port) != first

        await eventually(is_renewed)
    finally:
        server.stop()


async def _serial_number(port: int) -> int:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(encoded).serial_number
