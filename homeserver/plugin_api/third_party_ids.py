"""What a plugin that sends SMS deals with: telephone numbers, and short texts to them.
The server makes the codes, keeps the sessions and limits how often anybody is written to.
"""

from __future__ import annotations

from typing import Protocol


class SmsSender(Protocol):
    """Sends texts to telephones, and knows how their numbers are written."""

    async def canonical_number(self, country: str, number: str) -> str:
        """The number as an MSISDN: digits with the country code, without `+`, e.g. `447700900001`.

        `country` is two letters (ISO 3166-1 alpha-2); `number` is what a person typed. MatrixError (M_INVALID_PARAM)
        for what is no number.
        """

    async def send(self, msisdn: str, text: str) -> None:
        """Send a text to a canonical number. Whatever is raised means that it was not sent; nothing is retried."""
