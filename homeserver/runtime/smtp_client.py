"""Hands e-mail to the mail server of the settings: bounded in time, encrypted as the settings demand.
What becomes of a message that was not taken is for the caller to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING

import aiosmtplib

if TYPE_CHECKING:
    from homeserver_config.sections.email import EmailSettings


class MailServerAway(Exception):
    """The mail server cannot be used now, for any message. `str` of it is safe to log."""


class MailRefused(Exception):
    """The mail server does not take this message; `for_good` if asking again is of no use. Safe to log."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the mail server answered {status}")
        self.for_good = 500 <= status < 600


class SmtpConnection:
    """An open connection."""

    def __init__(self, smtp: aiosmtplib.SMTP, sender: str) -> None:
        self._smtp = smtp
        self._sender = sender

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Hand over one message. Raises MailRefused, MailServerAway."""
        try:
            await self._smtp.send_message(message, sender=self._sender, recipients=[recipient])
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise MailRefused(error.recipients[0].code) from None
        except aiosmtplib.SMTPNotSupported:
            # The address has letters that this mail server cannot carry.
            raise MailRefused(553) from None
        except aiosmtplib.SMTPResponseException as error:
            if error.code == aiosmtplib.SMTPStatus.domain_unavailable:
                raise MailServerAway("the mail server is closing") from None
            raise MailRefused(error.code) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailServerAway(_reason(error)) from None
        finally:
            _stop_if_cancelled()


class SmtpClient:
    """The mail server."""

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def connect(self, sender: str) -> AsyncIterator[SmtpConnection]:
        """A connection, logged in. Raises MailServerAway."""
        settings = self._settings
        password = settings.password.reveal() if settings.password is not None else None
        smtp = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=password if settings.username is not None else None,
            timeout=settings.timeout.seconds,
            use_tls=settings.tls == "implicit",
            start_tls=settings.tls == "starttls",
        )
        try:
            await smtp.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            smtp.close()
            raise MailServerAway(_reason(error)) from None
        finally:
            _stop_if_cancelled()
        try:
            yield SmtpConnection(smtp, sender)
            await _say_goodbye(smtp)
        finally:
            smtp.close()
            _stop_if_cancelled()


async def _say_goodbye(smtp: aiosmtplib.SMTP) -> None:
    try:
        await smtp.quit()
    except (aiosmtplib.SMTPException, OSError):
        return


def _stop_if_cancelled() -> None:
    """`asyncio.wait_for` of Python 3.11, which the library stands on, may swallow a cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _reason(error: Exception) -> str:
    """The kind of failure; texts of mail servers may quote addresses."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"the mail server answered {error.code}"
    return f"the mail server cannot be used: {type(error).__name__}"
