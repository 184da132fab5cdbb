"""Builds what checks the way to another server, without the rest of the server."""

from __future__ import annotations

from homeserver import __version__
from homeserver.app.signing_key import load_or_create_signing_key
from homeserver.runtime.clock import SystemClock
from homeserver.runtime.http_client import HttpClient
from homeserver.runtime.randomness import SystemRandomness
from homeserver_config.settings import Settings
from homeserver_federation.check import FederationCheck, Finding
from homeserver_federation.client import build_tls_context
from homeserver_federation.server_discovery import ServerDiscovery
from homeserver_federation.srv_records import DnsSrvLookup
from homeserver_federation.well_known import WellKnown


async def check_server(settings: Settings, server_name: str) -> list[Finding]:
    """What is found on the way from this server to another, or to itself as others go it."""
    clock, randomness, srv = SystemClock(), SystemRandomness(), DnsSrvLookup()
    path = settings.signing_key_path
    own_key = load_or_create_signing_key(path, randomness) if path.exists() else None
    tls = build_tls_context(settings.federation)
    http = HttpClient(settings.outgoing, user_agent=f"Starling/{__version__}", tls=tls)
    well_known = WellKnown(http, settings.federation, clock)
    discovery = ServerDiscovery(well_known, srv, clock, randomness)
    try:
        check = FederationCheck(settings.server.server_name, own_key, http, tls, well_known, discovery, clock)
        return await check.run(server_name)
    finally:
        await http.close()
        await srv.close()
