"""The section `federation`: with whom this server exchanges rooms, and how patient it is."""

from pathlib import Path

from pydantic import Field

from homeserver_config.values import Duration, Glob, Section, ServerName


class OldVerifyKey(Section):
    """A public key this server signed with, until a time."""

    key: str = Field(pattern=r"^[A-Za-z0-9+/]{43}$", description="The public key in unpadded Base64.")
    expired_ts: int = Field(ge=0, description="When it was last signed with, in milliseconds since 1970.")


class FederationSettings(Section):
    """With whom this server exchanges rooms, and how patient it is."""

    enabled: bool = Field(default=True, description="Whether this server talks to other servers at all.")
    allow: list[Glob] | None = Field(
        default=None,
        description="The only servers to talk to, patterns with * and ?; without it, all that deny leaves.",
    )
    deny: list[Glob] = Field(default=[], description="Servers never to talk to.")
    verification_exemptions: list[Glob] = Field(
        default=[], description="Servers whose TLS certificate is not checked. For closed networks only."
    )
    ca_certificates: list[Path] = Field(
        default=[], description="PEM files of certificate authorities trusted besides the usual."
    )
    trusted_key_servers: list[ServerName] = Field(
        default=["matrix.org"], description="Servers asked for signing keys that their owner no longer serves."
    )
    old_verify_keys: dict[str, OldVerifyKey] = Field(
        default={},
        description="Public keys this server signed with before, by ID (ed25519:a_abcd): published with their end, so "
        "that events of that time still count.",
    )
    request_timeout: Duration = Field(
        default=Duration.parse("60s"), description="How long a request to a server may take."
    )
    join_timeout: Duration = Field(
        default=Duration.parse("5m"), description="How long joining a room through a server may take."
    )
    retry_at_first: Duration = Field(
        default=Duration.parse("10s"), description="The first pause after a server could not be reached; it doubles."
    )
    retry_at_most: Duration = Field(default=Duration.parse("1d"), description="The longest pause between two attempts.")
    profile_lookups: bool = Field(default=True, description="Whether other servers may ask for our users' profiles.")
    device_names: bool = Field(
        default=False, description="Whether other servers learn the names of our users' devices."
    )

    def may_talk_to(self, server_name: str) -> bool:
        """Whether `allow` and `deny` let us exchange anything with that server."""
        if any(pattern.matches(server_name) for pattern in self.deny):
            return False
        return self.allow is None or any(pattern.matches(server_name) for pattern in self.allow)
