"""Looks things up in the networks that application services connect.

What several services say is put together; one that does not answer is passed over.

Spec: client-server-api #third-party-lookups, application-service-api #third-party-networks
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog

from homeserver.protocol.errors import not_found
from homeserver.runtime.http_client import RemoteFailure

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.services.appservices.appservice import Appservice
    from homeserver.services.appservices.directory import AppserviceDirectory
    from homeserver.services.appservices.requests import AppserviceRequests

_REMEMBERED_FOR_S = 300.0
_log = structlog.get_logger("homeserver.appservices")


class ThirdPartyLookups:
    """The use cases behind `/thirdparty`."""

    def __init__(
        self, appservices: AppserviceDirectory, requests: AppserviceRequests, clock: Clock, timeout_s: float
    ) -> None:
        self._appservices = appservices
        self._requests = requests
        self._clock = clock
        self._timeout_s = timeout_s
        self._protocols: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}

    async def protocols(self) -> dict[str, Any]:
        """What is known of every protocol, by its name."""
        names = sorted({name for one in self._appservices.all() for name in one.protocols})
        found = await asyncio.gather(*(self._find_protocol(name) for name in names))
        return {name: protocol for name, protocol in zip(names, found, strict=True) if protocol is not None}

    async def protocol(self, name: str) -> dict[str, Any]:
        """What is known of one protocol. M_NOT_FOUND."""
        found = await self._find_protocol(name)
        if found is None:
            raise not_found("No bridge to this network is connected here.")
        return found

    async def in_protocol(self, kind: str, name: str, fields: Mapping[str, str]) -> list[Any]:
        """Places (`location`) or users (`user`) with these fields. M_NOT_FOUND for a protocol nobody connects."""
        services = self._with_protocol(name)
        if not services:
            raise not_found("No bridge to this network is connected here.")
        return await self._gather(services, f"/thirdparty/{kind}/{quote(name, safe='')}", fields)

    async def of_identifier(self, kind: str, query: Mapping[str, str]) -> list[Any]:
        """Places behind an alias, or users behind a user ID, in all networks."""
        services = [one for one in self._appservices.all() if one.protocols and one.url is not None]
        return await self._gather(services, f"/thirdparty/{kind}", query)

    def _with_protocol(self, name: str) -> list[Appservice]:
        return [one for one in self._appservices.all() if name in one.protocols and one.url is not None]

    async def _gather(self, services: Iterable[Appservice], path: str, query: Mapping[str, str]) -> list[Any]:
        found = await asyncio.gather(*(self._ask(one, path, query) for one in services))
        return [item for items in found if isinstance(items, list) for item in items if isinstance(item, dict)]

    async def _find_protocol(self, name: str) -> dict[str, Any] | None:
        told = await asyncio.gather(*(self._protocol_of(one, name) for one in self._with_protocol(name)))
        known = [protocol for protocol in told if protocol is not None]
        if not known:
            return None
        return {**known[0], "instances": [instance for protocol in known for instance in protocol["instances"]]}

    async def _protocol_of(self, appservice: Appservice, name: str) -> dict[str, Any] | None:
        key = (appservice.id, name)
        remembered = self._protocols.get(key)
        if remembered is not None and self._clock.monotonic() - remembered[0] < _REMEMBERED_FOR_S:
            return remembered[1]
        told = await self._ask(appservice, f"/thirdparty/protocol/{quote(name, safe='')}", {})
        if not isinstance(told, dict):
            return None
        instances = told.get("instances")
        told["instances"] = [
            {**instance, "instance_id": f"{appservice.id}|{instance.get('network_id')}"}
            for instance in (instances if isinstance(instances, list) else [])
            if isinstance(instance, dict)
        ]
        self._protocols[key] = (self._clock.monotonic(), told)
        return told

    async def _ask(self, appservice: Appservice, path: str, query: Mapping[str, str]) -> Any:
        try:
            answer = await self._requests.ask(appservice, "GET", path, query=query, timeout_s=self._timeout_s)
            return answer.json() if answer.status == 200 else None
        except RemoteFailure as failure:
            _log.info("application service was not asked", appservice=appservice.id, problem=str(failure))
            return None
