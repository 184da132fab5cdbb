"""Where users have published their addresses: bound through an identity server, remembered, and taken back.

Spec: client-server-api #post_matrixclientv3account3pidbind
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from homeserver.protocol.errors import MatrixError
from homeserver.storage import third_party_ids as rows
from homeserver.storage.third_party_ids import Binding

if TYPE_CHECKING:
    from homeserver.services.third_party_ids.identity_servers import IdentityServers
    from homeserver.storage.database import Database

SUCCESS = "success"
NO_SUPPORT = "no-support"
_log = structlog.get_logger("homeserver.third_party_ids")


class Bindings:
    """The use cases behind `/account/3pid/bind` and `/unbind`."""

    def __init__(self, database: Database, identity_servers: IdentityServers) -> None:
        self._database = database
        self._identity_servers = identity_servers

    async def bind(self, user_id: str, id_server: str, access_token: str, sid: str, client_secret: str) -> None:
        """Publish an address that the identity server has confirmed. Raises what `IdentityServers` raises."""
        medium, address = await self._identity_servers.bind(id_server, access_token, sid, client_secret, user_id)
        await self._database.write(rows.store_binding, user_id, Binding(medium, address, id_server))

    async def unbind(self, user_id: str, medium: str, address: str, id_server: str | None) -> str:
        """Take back an address, at the server named or wherever it is known to be published.

        "success", or "no-support" where that cannot be done or nobody knows where. Raises what `IdentityServers`
        raises.
        """
        bound = [
            one
            for one in await self._database.read(rows.load_bindings, user_id)
            if one.medium == medium and one.address.casefold() == address.casefold()
        ]
        if id_server is not None:
            bound = [one for one in bound if one.id_server == id_server] or [Binding(medium, address, id_server)]
        results = [await self._unbind(user_id, one) for one in bound]
        return SUCCESS if results and all(results) else NO_SUPPORT

    async def unbind_or_not(self, user_id: str, medium: str, address: str, id_server: str | None) -> str:
        """The same for an address that goes in any case: what fails is no-support."""
        try:
            return await self.unbind(user_id, medium, address, id_server)
        except MatrixError as error:
            _log.info("address could not be unbound", id_server=id_server, errcode=error.errcode)
            return NO_SUPPORT

    async def unbind_all(self, user_id: str) -> str:
        """Take back all that a user has published, as far as that succeeds; for accounts that are closed."""
        success = True
        for one in await self._database.read(rows.load_bindings, user_id):
            try:
                success = await self._unbind(user_id, one) and success
            except MatrixError as error:
                _log.info("address could not be unbound", id_server=one.id_server, errcode=error.errcode)
                success = False
        return SUCCESS if success else NO_SUPPORT

    async def _unbind(self, user_id: str, one: Binding) -> bool:
        done = await self._identity_servers.unbind(one.id_server, user_id, one.medium, one.address)
        if done:
            await self._database.write(rows.delete_binding, user_id, one)
        return done
