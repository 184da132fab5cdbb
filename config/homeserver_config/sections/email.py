"""The section `email`: the mail server that messages are handed to, and what goes with addresses.
Without it the server sends no e-mail, and nobody can add an address.
"""

from email.utils import parseaddr
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from homeserver_config.values import Duration, Glob, Secret, Section


class EmailSettings(Section):
    """E-mail: confirming addresses, resetting passwords, digests of what is unread."""

    enabled: bool = Field(default=False, description="Whether the server sends e-mail.")
    host: str = Field(default="localhost", min_length=1, description="The mail server (SMTP) that takes our messages.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port: 587 for starttls, 465 for implicit.")
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        description="starttls: encryption is demanded after connecting; implicit: from the first byte; none: without, "
        "for a mail server on the same machine.",
    )
    username: str | None = Field(default=None, description="The user name to log in to the mail server with.")
    password: Secret | None = Field(default=None, description="The password to log in to the mail server with.")
    from_address: str = Field(
        default="noreply@localhost",
        description="Who the messages are from: `noreply@example.org`, or `Name <address>`.",
    )
    app_name: str = Field(default="Matrix", min_length=1, description="What messages and pages call this service.")
    template_directory: Path | None = Field(
        default=None, description="A folder with templates of your own; what is not there comes from the server."
    )
    link_lifetime: Duration = Field(
        default=Duration.parse("1h"), ge=60_000, description="How long a link or code to confirm an address works."
    )
    hide_existence: bool = Field(
        default=True,
        description="Whether strangers are kept from finding out which addresses have an account: they are told that a "
        "message was sent, and the message tells the owner.",
    )
    next_link_hosts: list[Glob] = Field(
        default=[], description="Hosts that people may be sent on to after confirming an address; empty means all."
    )
    timeout: Duration = Field(default=Duration.parse("20s"), description="How long the mail server may take to answer.")
    queue_limit: int = Field(
        default=10_000,
        ge=1,
        description="How many messages may wait for the mail server; beyond that none are accepted.",
    )
    give_up_after: Duration = Field(
        default=Duration.parse("2d"), description="How long a message is retried before it is dropped."
    )

    @field_validator("from_address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        _, address = parseaddr(value)
        localpart, _, domain = address.rpartition("@")
        if not localpart or not domain or "\n" in value or "\r" in value:
            raise ValueError("must be an address such as noreply@example.org or Name <noreply@example.org>")
        return value
