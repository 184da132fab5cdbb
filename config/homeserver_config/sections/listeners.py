"""The section `listeners`: the addresses and ports this server answers on.
Each listener serves the resources it names, plain or with TLS.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from homeserver_config.values import Section

Resource = Literal["client", "federation", "admin", "metrics"]

_PRIVATE = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")


class ListenerSettings(Section):
    """One address and port this server answers on."""

    bind_address: str = Field(
        default="127.0.0.1",
        description="The address to listen on; 0.0.0.0 or :: for all, unix:/path for a socket file.",
    )
    port: int = Field(default=8008, ge=0, le=65535, description="The TCP port.")
    tls_certificate: Path | None = Field(
        default=None, description="A PEM file with the certificate chain. Without it the listener speaks plain HTTP."
    )
    tls_key: Path | None = Field(default=None, description="A PEM file with the certificate's private key.")
    x_forwarded: bool = Field(
        default=False, description="Take the client's address from X-Forwarded-For, when a trusted proxy says it."
    )
    trusted_proxies: list[IPv4Network | IPv6Network] = Field(
        default=[ip_network(network) for network in _PRIVATE],
        description="The addresses of reverse proxies whose X-Forwarded-For is believed.",
    )
    resources: list[Resource] = Field(
        default=["client", "federation", "admin"],
        description="What is served here: client (users and media), federation (other servers), admin, metrics.",
    )

    @model_validator(mode="after")
    def _certificate_and_key_go_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self
