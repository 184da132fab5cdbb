"""The seams of third-party identifiers: whose an address is, as other parts ask it.

The null implementation stands in where nobody can have any.
"""

from __future__ import annotations

from typing import Protocol


class AddressOwners(Protocol):
    """Knows whose an e-mail address or telephone number is."""

    async def find_owner(self, medium: str, address: str) -> str | None:
        """The user with this address, in any spelling; None without one, and for what is no address."""

    async def find_owner_of_number(self, country: str, number: str) -> str | None:
        """The user with this telephone number, as a person types it in a country."""


class NoAddresses:
    """A server on which nobody has an address."""

    async def find_owner(self, medium: str, address: str) -> str | None:
        return None

    async def find_owner_of_number(self, country: str, number: str) -> str | None:
        return None
