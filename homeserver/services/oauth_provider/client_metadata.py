"""What a client says about itself when it registers, and which redirect URIs it may have.

A client proves who it is by the redirect URI it controls: everything has to be of the host of its `client_uri`.

Spec: client-server-api #client-metadata, #redirect-uri-validation
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from authlib.common.language import is_valid_language_tag  # type: ignore[import-untyped]

from homeserver.services.oauth_provider.errors import InvalidClientMetadataError, InvalidRedirectURIError

AUTHORIZATION_CODE, REFRESH_TOKEN = "authorization_code", "refresh_token"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = (AUTHORIZATION_CODE, REFRESH_TOKEN, DEVICE_CODE)
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_PAGES = ("logo_uri", "tos_uri", "policy_uri")
_LOCALISED = ("client_name", *_PAGES)
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_LONGEST_NAME, _LONGEST_URI, _MOST_URIS, _MOST_LANGUAGES = 200, 1_000, 20, 100


def check_client_metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata to register: what of `body` this server understands, with defaults filled in.

    InvalidClientMetadataError, InvalidRedirectURIError.
    """
    client = _https(body.get("client_uri"), "client_uri")
    host = str(client.hostname)
    if _HOST.fullmatch(host) is None:
        raise InvalidClientMetadataError("client_uri must be a URI with a full host name.")
    kind = body.get("application_type", "web")
    if kind not in ("web", "native"):
        raise InvalidClientMetadataError("application_type must be web or native.")
    if body.get("token_endpoint_auth_method", "none") != "none":
        raise InvalidClientMetadataError("token_endpoint_auth_method must be none: clients have no secrets here.")
    grant_types = _known(body, "grant_types", GRANT_TYPES, [AUTHORIZATION_CODE])
    response_types = _known(body, "response_types", ("code",), ["code"])
    metadata: dict[str, Any] = {
        "client_uri": body["client_uri"],
        "application_type": kind,
        "token_endpoint_auth_method": "none",
        "grant_types": grant_types,
        "response_types": response_types,
    }
    redirect_uris = _strings(body, "redirect_uris") or []
    if len(redirect_uris) > _MOST_URIS:
        raise InvalidRedirectURIError(f"There may be at most {_MOST_URIS} redirect_uris.")
    for uri in redirect_uris:
        _check_redirect_uri(uri, host, kind)
    if AUTHORIZATION_CODE in grant_types:
        if not redirect_uris:
            raise InvalidRedirectURIError("redirect_uris is missing, which the authorization code grant needs.")
        if "code" not in response_types:
            raise InvalidClientMetadataError("response_types must contain code.")
    if redirect_uris:
        metadata["redirect_uris"] = redirect_uris
    return metadata | _described(body, host)


def is_registered(redirect_uri: str, registered: Sequence[str]) -> bool:
    """Whether a client may be answered there: exactly as registered, but for the port on the loopback interface."""
    return redirect_uri in registered or _without_loopback_port(redirect_uri) in registered


def _described(body: Mapping[str, Any], host: str) -> dict[str, Any]:
    """The texts and links for people, in all languages."""
    found = {}
    for key, value in body.items():
        name, separator, language = key.partition("#")
        if name not in _LOCALISED or value is None:
            continue
        if separator and not is_valid_language_tag(language):
            raise InvalidClientMetadataError(f"What follows the number sign after {name} must be a language tag.")
        if name == "client_name":
            if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_NAME:
                raise InvalidClientMetadataError(f"client_name must be a string of 1 to {_LONGEST_NAME} characters.")
        elif not _is_of(str(_https(value, name).hostname), host):
            raise InvalidClientMetadataError(f"{name} must be on the host of client_uri or below it.")
        found[key] = value
    if len(found) > _MOST_LANGUAGES:
        raise InvalidClientMetadataError("These are too many languages.")
    return found


def _check_redirect_uri(uri: str, host: str, kind: str) -> None:
    parts = _split(uri)
    if parts is None or not parts.scheme:
        raise InvalidRedirectURIError("A redirect URI must be an absolute URI.")
    if "#" in uri:
        raise InvalidRedirectURIError("A redirect URI must not have a fragment.")
    if parts.scheme == "https":
        if "@" in parts.netloc or not _is_of(parts.hostname or "", host):
            raise InvalidRedirectURIError("A redirect URI must be on the host of client_uri or below it.")
    elif kind == "web":
        raise InvalidRedirectURIError("The redirect URIs of a web client must use https.")
    elif parts.scheme == "http":
        if parts.netloc not in LOOPBACK:
            raise InvalidRedirectURIError("A redirect URI with http must be on the loopback interface, without a port.")
    else:
        reverse = ".".join(reversed(host.split(".")))
        if parts.scheme != reverse and not parts.scheme.startswith(reverse + "."):
            raise InvalidRedirectURIError("A private-use scheme must begin with the host of client_uri in reverse.")
        if uri.partition(":")[2].startswith("//"):
            raise InvalidRedirectURIError("A redirect URI with a private-use scheme must not have an authority.")


def _https(value: Any, name: str) -> SplitResult:
    parts = _split(value)
    if parts is None or parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise InvalidClientMetadataError(f"{name} must be an https URI without user and password.")
    return parts


def _split(value: Any) -> SplitResult | None:
    if not isinstance(value, str) or len(value) > _LONGEST_URI or _PRINTABLE.fullmatch(value) is None:
        return None
    if any(letter in value for letter in '\\"<>'):
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises for an impossible one
        if parts.hostname and ":" in parts.hostname:
            ip_address(parts.hostname)
    except ValueError:
        return None
    return parts


def _is_of(host: str, base: str) -> bool:
    return host == base or host.endswith("." + base)


def _without_loopback_port(uri: str) -> str | None:
    parts = _split(uri)
    if parts is None or parts.scheme != "http":
        return None
    host = next((host for host in LOOPBACK if parts.netloc == host or parts.netloc.startswith(host + ":")), None)
    return None if host is None else uri.replace(parts.netloc, host, 1)


def _known(body: Mapping[str, Any], name: str, known: Sequence[str], default: list[str]) -> list[str]:
    values = _strings(body, name)
    if values is None:
        return default
    kept = [value for value in known if value in values]
    if not kept and values:
        raise InvalidClientMetadataError(f"This server supports none of these {name}.")
    return kept


def _strings(body: Mapping[str, Any], name: str) -> list[str] | None:
    values = body.get(name)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        wrong = InvalidRedirectURIError if name == "redirect_uris" else InvalidClientMetadataError
        raise wrong(f"{name} must be an array of strings.")
    return values
