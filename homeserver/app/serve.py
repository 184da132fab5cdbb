"""Serves a homeserver over HTTP in this process, until a signal says stop; requests under way may finish.

Hypercorn is the default; uvicorn runs in the same loop where the settings choose it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
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
_LOOK_FOR_PARENT_EVERY_S = 2.0


async def serve(settings: Settings, member: int | None = None, ready_fd: int | None = None) -> None:
    """Start, serve all listeners, and stop cleanly. Raises OSError when an address cannot be had.

    `member` is this process's number among several of this machine; `ready_fd` is closed once it serves.
    """
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
        apps = [(_listener_of(listener, member), server.asgi(listener)) for listener in settings.listeners]
        run = _uvicorn if settings.server.asgi == "uvicorn" else _hypercorn
        ended = asyncio.Event()
        sockets = [_shared_socket(listener) if member is not None else None for listener, _ in apps]
        tasks = [
            asyncio.create_task(run(app, listener, shared, ended.wait, certificates))
            for (listener, app), shared in zip(apps, sockets, strict=True)
        ]
        server.background.start("certificates", certificates.watch())
        if member is not None:
            server.background.start("parent", _stop_with_parent(stop))
        if ready_fd is not None:
            os.close(ready_fd)
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


async def _stop_with_parent(stop: asyncio.Event) -> None:
    """Nobody would end this process if the one that started it were gone."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LOOK_FOR_PARENT_EVERY_S)
    stop.set()


def _listener_of(listener: ListenerSettings, member: int | None) -> ListenerSettings:
    """Metrics are those of one process, so that each has a port of its own for them."""
    if member is None or listener.resources != ["metrics"]:
        return listener
    return listener.model_copy(update={"port": listener.port + member})


def _shared_socket(listener: ListenerSettings) -> socket.socket:
    """One of several sockets on an address, among which the kernel shares out the connections."""
    family = socket.AF_INET6 if ":" in listener.bind_address else socket.AF_INET
    shared = socket.socket(family, socket.SOCK_STREAM)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind((listener.bind_address, listener.port))
    return shared


async def _hypercorn(
    app: WebApp,
    listener: ListenerSettings,
    shared: socket.socket | None,
    stopped: Callable[[], Awaitable[Any]],
    certificates: Certificates,
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
    config.bind = [_address(listener) if shared is None else f"fd://{shared.detach()}"]
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
    app: WebApp,
    listener: ListenerSettings,
    shared: socket.socket | None,
    stopped: Callable[[], Awaitable[Any]],
    certificates: Certificates,
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
    sockets = None if shared is None else [shared]
    serving = asyncio.create_task(server._serve(sockets))  # noqa: SLF001 - serve() would take the signals away from us
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
