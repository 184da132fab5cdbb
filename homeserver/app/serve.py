"""Serves a homeserver over HTTP in this process, until a signal says stop; requests under way may finish.

Hypercorn is the default; uvicorn runs in the same loop where the settings choose it.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from homeserver.app.certificates import Certificates
from homeserver.app.homeserver import Homeserver
from homeserver.web.app import WebApp
from homeserver_config.sections.listeners import ListenerSettings
from homeserver_config.settings import Settings

_log = structlog.get_logger("homeserver.serve")
_BACKLOG = 1_024


async def serve(settings: Settings) -> None:
    """Start, serve all listeners, and stop cleanly. Raises OSError when an address cannot be had."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    certificates = Certificates()
    loop.add_signal_handler(signal.SIGHUP, certificates.renew_now)
    server = Homeserver(settings)
    await server.start()
    _settle_garbage_collector()
    try:
        apps = [(listener, server.asgi(listener)) for listener in settings.listeners]
        run = _uvicorn if settings.server.asgi == "uvicorn" else _hypercorn
        ended = asyncio.Event()
        tasks = [asyncio.create_task(run(app, listener, ended.wait, certificates)) for listener, app in apps]
        server.background.start("certificates", certificates.watch())
        waiting = asyncio.create_task(stop.wait())
        _log.info("serving", server=settings.server.server_name, addresses=[_address(one) for one, _ in apps])
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        await _drain(server, [app for _, app in apps], settings)
        ended.set()
        waiting.cancel()
        await asyncio.gather(*tasks)
    finally:
        await server.stop()


async def _drain(server: Homeserver, apps: list[WebApp], settings: Settings) -> None:
    """Answer waiting syncs at once, then let everything else finish."""
    server.rooms.hub.release_all()
    left = await asyncio.gather(*(app.drain(settings.server.shutdown_grace / 1000) for app in apps))
    _log.info("stopping", requests_cut_short=sum(left))


async def _hypercorn(
    app: WebApp, listener: ListenerSettings, stopped: Callable[[], Awaitable[Any]], certificates: Certificates
) -> None:
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    class _Config(Config):
        def create_ssl_context(self) -> ssl.SSLContext | None:
            context = super().create_ssl_context()
            if context is not None and listener.tls_certificate is not None and listener.tls_key is not None:
                certificates.add(listener.tls_certificate, listener.tls_key, context)
            return context

    config = _Config()
    config.bind = [_address(listener)]
    config.backlog = _BACKLOG
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = 3
    config.keep_alive_timeout = 75
    config.h11_max_incomplete_size = 65_536
    if listener.tls_certificate is not None and listener.tls_key is not None:
        config.certfile = str(listener.tls_certificate)
        config.keyfile = str(listener.tls_key)
        # Other servers gain nothing from HTTP/2, which costs several times as much.
        config.alpn_protocols = ["http/1.1", "h2"]
    await hypercorn_serve(app, config, shutdown_trigger=stopped, mode="asgi")  # type: ignore[arg-type]


async def _uvicorn(
    app: WebApp, listener: ListenerSettings, stopped: Callable[[], Awaitable[Any]], certificates: Certificates
) -> None:
    try:
        import uvicorn
    except ImportError:
        raise ValueError("server.asgi is uvicorn: pip install 'starling-homeserver[uvicorn]'.") from None
    address = listener.bind_address
    where: dict[str, Any] = {"host": address, "port": listener.port}
    if address.startswith("unix:"):
        where = {"uds": address.removeprefix("unix:")}
    config = uvicorn.Config(
        app,
        **where,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        ssl_certfile=listener.tls_certificate,
        ssl_keyfile=listener.tls_key,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
    config.load()
    if config.ssl is not None and listener.tls_certificate is not None and listener.tls_key is not None:
        certificates.add(listener.tls_certificate, listener.tls_key, config.ssl)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server._serve())  # noqa: SLF001 - serve() would take the signals away from us
    ending = asyncio.ensure_future(stopped())
    await asyncio.wait([serving, ending], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    ending.cancel()
    await serving


def _address(listener: ListenerSettings) -> str:
    if listener.bind_address.startswith("unix:"):
        return listener.bind_address
    host = f"[{listener.bind_address}]" if ":" in listener.bind_address else listener.bind_address
    return f"{host}:{listener.port}"


def _settle_garbage_collector() -> None:
    """What was built at the start lives as long as the process: never scan it again, and scan less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
