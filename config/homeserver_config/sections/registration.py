"""The section `registration`: who may make an account.
Closed to strangers by default: an open server is soon full of spam.
"""

from typing import Literal

from pydantic import Field

from homeserver_config.values import Glob, Secret, Section


class RegistrationSettings(Section):
    """Who may make an account."""

    mode: Literal["open", "token", "closed"] = Field(
        default="token",
        description="open: anybody (expect spam on a public server); token: with a registration token from an "
        "administrator; closed: only administrators make accounts.",
    )
    shared_secret: Secret | None = Field(
        default=None, description="Whoever knows it may make accounts, administrators included, whatever the mode."
    )
    reserved_localparts: list[Glob] = Field(
        default=[Glob("admin"), Glob("abuse"), Glob("postmaster")],
        description="User names that people cannot choose; patterns with * and ?.",
    )
    terms_url: str | None = Field(default=None, description="The terms of use that newcomers must accept, a web page.")
    email: Literal["off", "optional", "required"] = Field(
        default="optional", description="Whether newcomers confirm an e-mail address; needs email.enabled."
    )
    email_domains: list[Glob] = Field(
        default=[], description="Domains that addresses may have, e.g. example.org; empty means all. Also when added."
    )
    phone: Literal["off", "optional", "required"] = Field(
        default="off", description="Whether newcomers confirm a telephone number; needs a plugin that sends SMS."
    )
    auto_join_rooms: list[str] = Field(default=[], description="Aliases of rooms that every new account joins.")
