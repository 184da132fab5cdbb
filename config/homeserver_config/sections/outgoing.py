"""The section `outgoing`: requests this server makes, to other servers, push gateways and web pages.
Private addresses are out of bounds, or strangers could have us probe the network we stand in.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network

from pydantic import Field

from homeserver_config.values import ByteSize, Duration, Section

Network = IPv4Network | IPv6Network

PRIVATE_NETWORKS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)


class OutgoingSettings(Section):
    """Requests this server makes: to other servers, push gateways and web pages."""

    ip_ranges_denied: list[Network] = Field(
        default=[ip_network(network) for network in PRIVATE_NETWORKS],
        description="Addresses never to be connected to, whatever a name resolves to.",
    )
    ip_ranges_allowed: list[Network] = Field(
        default=[], description="Exceptions from ip_ranges_denied, e.g. a push gateway in the own network."
    )
    timeout: Duration = Field(default=Duration.parse("30s"), description="How long a request may take as a whole.")
    connect_timeout: Duration = Field(default=Duration.parse("10s"), description="How long a connection may take.")
    max_response_size: ByteSize = Field(
        default=ByteSize.parse("10M"), description="The largest answer read, media aside."
    )
    proxy: str | None = Field(
        default=None,
        pattern=r"^http://[^/]+/?$",
        description="An HTTP proxy all of these requests go through: http://host:port, http://user:password@host:port. "
        "What names resolve to is then its business.",
    )
    connections: int = Field(default=200, ge=1, description="How many connections are open at once.")
