"""The section `identity_servers`: the directories of addresses that clients may have this server talk to.
Nothing is told to any of them but what a user asks for.
"""

from pydantic import Field

from homeserver_config.values import Duration, Glob, Section


class IdentityServerSettings(Section):
    """Directories of addresses: invitations by e-mail address, publishing one's own."""

    enabled: bool = Field(default=True, description="Whether identity servers are talked to at all.")
    allowed: list[Glob] = Field(
        default=[], description="Names of identity servers that may be used; empty means all that can be reached."
    )
    allow_http: bool = Field(
        default=False, description="Whether they are reached without TLS; for one in the own network only."
    )
    timeout: Duration = Field(default=Duration.parse("10s"), description="How long one may take to answer.")
