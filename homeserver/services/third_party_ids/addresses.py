"""The addresses of accounts: listed, added once confirmed, removed; and whose one is.

Spec: client-server-api #adding-account-administrative-contact-information
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.third_party_ids import EMAIL, canonical_address
from homeserver.storage import third_party_ids as rows
from homeserver.storage import validation_sessions
from homeserver.storage.third_party_ids import ThirdPartyId

if TYPE_CHECKING:
    from homeserver.plugin_api.third_party_ids import SmsSender
    from homeserver.runtime.clock import Clock
    from homeserver.services.mail.outbox import Outbox
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.validation_sessions import ValidationSession

_MOST_OF_ONE_USER = 20


class Addresses:
    """Implements `AddressOwners`. `outbox` is None where no e-mail is sent, `sms` where there are no numbers."""

    def __init__(self, database: Database, clock: Clock, outbox: Outbox | None, sms: SmsSender | None) -> None:
        self._database = database
        self._clock = clock
        self._outbox = outbox
        self._sms = sms

    async def find_owner(self, medium: str, address: str) -> str | None:
        try:
            canonical = canonical_address(medium, address)
        except MatrixError:
            return None
        return await self._database.read(rows.find_owner, medium, canonical)

    async def find_owner_of_number(self, country: str, number: str) -> str | None:
        if self._sms is None:
            return None
        try:
            msisdn = await self._sms.canonical_number(country, number)
        except MatrixError:
            return None
        return await self.find_owner("msisdn", msisdn)

    async def of_user(self, user_id: str) -> list[ThirdPartyId]:
        """A user's addresses, oldest first."""
        return await self._database.read(rows.load_of_user, user_id)

    async def add(self, user_id: str, session: ValidationSession) -> None:
        """Give a user the address that a session has confirmed, and use the session up. M_THREEPID_IN_USE.

        Every e-mail address of the account is told, so that nobody adds one behind its owner's back.
        """
        await self._database.write(self._add, user_id, session)
        if self._outbox is not None:
            self._outbox.queued()

    def write_new(self, tx: Transaction, user_id: str, finding: dict[str, Any]) -> None:
        """Give a new account the address that an auth stage has found confirmed. M_THREEPID_IN_USE."""
        one = ThirdPartyId(finding["medium"], finding["address"], finding["validated_ms"], self._clock.now_ms())
        _store(tx, user_id, one)
        validation_sessions.take_session(tx, finding["sid"])

    async def delete(self, user_id: str, medium: str, address: str) -> None:
        """Take an address from a user; nothing happens if it is not theirs."""
        try:
            canonical = canonical_address(medium, address)
        except MatrixError:
            return
        await self._database.write(rows.delete_one, user_id, medium, canonical)

    def _add(self, tx: Transaction, user_id: str, session: ValidationSession) -> None:
        if not validation_sessions.take_session(tx, session.session_id):
            raise MatrixError("M_NO_VALID_SESSION", "This session has been used already.", 400)
        if rows.count_of_user(tx.connection, user_id) >= _MOST_OF_ONE_USER:
            raise MatrixError("M_THREEPID_DENIED", f"An account may have {_MOST_OF_ONE_USER} addresses at most.", 403)
        _store(
            tx, user_id, ThirdPartyId(session.medium, session.address, session.validated_ms or 0, self._clock.now_ms())
        )
        if self._outbox is None or session.medium != EMAIL:
            return
        values = {"address": session.address, "user_id": user_id}
        for one in rows.load_of_user(tx.connection, user_id):
            if one.medium == EMAIL:
                self._outbox.write(tx, self._outbox.make(one.address, "address_added", values))


def _store(tx: Transaction, user_id: str, one: ThirdPartyId) -> None:
    if not rows.add(tx, user_id, one):
        raise in_use()


def in_use() -> MatrixError:
    return MatrixError("M_THREEPID_IN_USE", "This address belongs to another account.", 400)
