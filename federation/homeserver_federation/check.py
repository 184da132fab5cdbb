"""Walks the way to a server step by step, and says in sentences what is found and what to do about it.

Nothing is remembered and nobody is spared: for people who look for a fault, not for the server at work.

Spec: server-server-api #resolving-server-names, #publishing-keys, #querying-keys-through-another-server
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cryptography import x509

from homeserver.protocol.identifiers import is_ip_literal, is_server_name, split_server_name
from homeserver.protocol.signing import SigningKey
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import AddressDenied, HttpClient, HttpResponse, RemoteFailure
from homeserver_federation.errors import ServerUnreachable
from homeserver_federation.key_answers import BadKeyAnswer, parse_key_answer
from homeserver_federation.server_discovery import Destination, ServerDiscovery
from homeserver_federation.well_known import WellKnown
from homeserver_federation.x_matrix import NO_CONTENT, authorization_header

_TIMEOUT_S = 15.0
_MOST_BYTES = 1024 * 1024
_SOON_MS = 14 * 86_400_000
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence. `is_fault`: federation with the server does not work as long as it is so."""

    sentence: str
    is_fault: bool = False


class FederationCheck:
    """Checks servers as seen from here. `own_key` is None where this server has none yet.

    `tls` is the context of `http`; it decides which certificates are trusted.
    """

    def __init__(
        self,
        own_name: str,
        own_key: SigningKey | None,
        http: HttpClient,
        tls: ssl.SSLContext,
        well_known: WellKnown,
        discovery: ServerDiscovery,
        clock: Clock,
    ) -> None:
        self._own_name = own_name
        self._own_key = own_key
        self._http = http
        self._tls = tls
        self._well_known = well_known
        self._discovery = discovery
        self._clock = clock

    async def run(self, server_name: str) -> list[Finding]:
        """All there is to say, in the order of the steps; later ones are left out where an earlier one ends the way."""
        if not is_server_name(server_name):
            return [_fault(f"{server_name} is not the name of a server. Expected is a domain, like example.org.")]
        findings = await self._delegation(server_name)
        try:
            places = await self._discovery.resolve(server_name)
        except ServerUnreachable as error:
            return [*findings, _fault(f"Nobody can find {server_name}: {error.reason}.")]
        reached = None
        for place in places:
            some = [finding async for finding in self._addresses(place)]
            if not any(finding.is_fault for finding in some) and place.scheme == "https":
                some.extend(await self._certificate(place))
            findings.extend(some)
            if reached is None and not any(finding.is_fault for finding in some):
                reached = place
        if reached is None:
            return findings
        findings.extend(await self._version(reached))
        findings.extend(await self._keys(server_name, reached))
        if not any(finding.is_fault for finding in findings):
            findings.extend(await self._seen_from_there(server_name, reached))
        return findings

    async def _delegation(self, server_name: str) -> list[Finding]:
        host, port = split_server_name(server_name)
        if is_ip_literal(host) or port is not None:
            return [Finding(f"{server_name} names its address or port itself: nothing is looked up for it.")]
        delegated = await self._well_known.find(host)
        if delegated is not None:
            return [Finding(f"https://{host}/.well-known/matrix/server delegates to {delegated}.")]
        return [
            Finding(
                f"https://{host}/.well-known/matrix/server does not exist or says nothing of use: SRV records of "
                f"{host} are used, or else port 8448 of it."
            )
        ]

    async def _addresses(self, place: Destination) -> AsyncIterator[Finding]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        except OSError as error:
            yield _fault(f"{place.host} has no address ({error.strerror or error}). Check its A and AAAA records.")
            return
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        yield Finding(f"{place.host}, port {place.port}, is at {', '.join(addresses)}.")
        open_ones = 0
        for address in addresses:
            reason = await _find_why_closed(address, place.port)
            open_ones += reason is None
            if reason is not None:
                yield Finding(f"{address} port {place.port} does not accept connections: {reason}.")
        if not open_ones:
            yield _fault(
                f"Nobody listens on port {place.port} of {place.host}. Check that the server runs, and that firewalls "
                "and port forwardings let connections through."
            )

    async def _certificate(self, place: Destination) -> list[Finding]:
        try:
            certificate = await _handshake(place, self._tls)
        except ssl.SSLCertVerificationError as error:
            return [await self._bad_certificate(place, error)]
        except (OSError, TimeoutError) as error:
            return [
                _fault(
                    f"TLS with {place.host} fails: {error or 'it took too long'}. Check that this port speaks TLS (1.2 "
                    "or newer), not plain HTTP."
                )
            ]
        until_ms = round(certificate.not_valid_after_utc.timestamp() * 1000)
        days = (until_ms - self._clock.now_ms()) // _DAY_MS
        sentence = f"The certificate is trusted, is for {place.tls_name}, and good for {days} more days."
        if until_ms - self._clock.now_ms() < _SOON_MS:
            sentence += " Renew it soon."
        return [Finding(sentence)]

    async def _bad_certificate(self, place: Destination, error: ssl.SSLCertVerificationError) -> Finding:
        unchecked = ssl.create_default_context()
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        try:
            certificate = await _handshake(place, unchecked)
        except (OSError, TimeoutError):
            return _fault(f"The certificate of {place.host} is not accepted: {error.verify_message}.")
        end = certificate.not_valid_after_utc
        if round(end.timestamp() * 1000) < self._clock.now_ms():
            return _fault(f"The certificate of {place.host} expired on {end:%Y-%m-%d}. Renew it.")
        names = _names_of(certificate)
        if place.tls_name not in names and "mismatch" in error.verify_message.lower():
            return _fault(
                f"The certificate of {place.host} is for {', '.join(names) or 'no name at all'}, and must be for "
                f"{place.tls_name}: that is the name clients of federation check, whatever SRV records say."
            )
        return _fault(
            f"The certificate of {place.host} is not trusted: {error.verify_message}. It must come with its "
            "intermediate certificates (the full chain), from an authority that is known everywhere."
        )

    async def _version(self, place: Destination) -> list[Finding]:
        answer = await self._ask("GET", place, "/_matrix/federation/v1/version")
        if isinstance(answer, Finding):
            return [answer]
        server = _object(answer).get("server")
        if answer.status != 200 or not isinstance(server, dict):
            return [
                _fault(
                    f"/_matrix/federation/v1/version answers {answer.status} with something else than a version. "
                    "A reverse proxy must pass everything below /_matrix/federation and /_matrix/key to the server."
                )
            ]
        return [Finding(f"It is {server.get('name', 'a server without a name')} {server.get('version', '')}.")]

    async def _keys(self, server_name: str, place: Destination) -> list[Finding]:
        answer = await self._ask("GET", place, "/_matrix/key/v2/server")
        if isinstance(answer, Finding):
            return [answer]
        try:
            keys = parse_key_answer(_object(answer), server_name, self._clock.now_ms())
        except BadKeyAnswer as error:
            said = _object(answer).get("server_name")
            if answer.status == 200 and isinstance(said, str) and said != server_name:
                return [
                    _fault(
                        f"The server there calls itself {said}, not {server_name}. Correct the delegation, or the "
                        "server_name of that server (which cannot be changed once it has users)."
                    )
                ]
            return [_fault(f"/_matrix/key/v2/server answers {answer.status}, and {error}.")]
        current = [key for key in keys if key.expired_ms is None]
        if current[0].valid_until_ms < self._clock.now_ms():
            return [_fault("The signing keys there are no longer valid: its clock is wrong, or an old copy is served.")]
        findings = [Finding(f"It signs with {', '.join(key.key_id for key in current)}.")]
        if server_name == self._own_name and self._own_key is not None:
            published = {key.key_id: key.public_key for key in current}
            if published.get(self._own_key.key_id) != self._own_key.verify_key_base64:
                findings.append(
                    _fault(
                        "That is not the signing key of this server: another server answers under its name, or it "
                        "runs with another signing key file. Others will refuse what it signs."
                    )
                )
        return findings

    async def _seen_from_there(self, server_name: str, place: Destination) -> list[Finding]:
        """Whether that server finds us, and takes what we sign: it has to fetch our keys for both."""
        if server_name == self._own_name or self._own_key is None:
            return []
        target = f"/_matrix/federation/v1/query/directory?room_alias={quote(f'#check:{server_name}', safe='')}"
        header = authorization_header("GET", target, self._own_name, server_name, self._own_key, NO_CONTENT)
        answer = await self._ask("GET", place, target, {"Authorization": header})
        if isinstance(answer, Finding):
            return [answer]
        if answer.status in (200, 404):
            return [Finding(f"{server_name} reaches {self._own_name} and accepts its signatures.")]
        reason = _object(answer).get("error", "no reason given")
        return [
            _fault(
                f"{server_name} refuses requests of {self._own_name}: {answer.status}, {reason}. Most often it cannot "
                f"reach us: run `homeserver federation check {self._own_name}` from outside this network."
            )
        ]

    async def _ask(
        self, method: str, place: Destination, target: str, headers: Mapping[str, str] | None = None
    ) -> HttpResponse | Finding:
        try:
            return await self._http.request(
                method,
                place.base_url + target,
                headers={**(headers or {}), "Host": place.host_header},
                timeout_s=_TIMEOUT_S,
                max_bytes=_MOST_BYTES,
                server_hostname=place.tls_name if place.scheme == "https" else None,
            )
        except AddressDenied:
            return _fault(
                f"The settings of this server forbid connections to the address of {place.host}. On a private network, "
                "allow it with outgoing.ip_ranges_allowed."
            )
        except RemoteFailure as error:
            return _fault(f"{target.partition('?')[0]} cannot be asked: {error}.")


async def _find_why_closed(address: str, port: int) -> str | None:
    """Why a connection cannot be made; None when it can."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return "nothing answers"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    return None


async def _handshake(place: Destination, context: ssl.SSLContext) -> x509.Certificate:
    async with asyncio.timeout(_TIMEOUT_S):
        _, writer = await asyncio.open_connection(place.host, place.port, ssl=context, server_hostname=place.tls_name)
    try:
        encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(encoded)
    finally:
        writer.close()


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in _known_kinds(names)]


def _known_kinds(names: x509.SubjectAlternativeName) -> Iterator[x509.DNSName | x509.IPAddress]:
    for name in names:
        if isinstance(name, x509.DNSName | x509.IPAddress):
            yield name


def _object(answer: HttpResponse) -> dict[str, Any]:
    try:
        found = answer.json()
    except RemoteFailure:
        return {}
    return found if isinstance(found, dict) else {}


def _fault(sentence: str) -> Finding:
    return Finding(sentence, is_fault=True)
