"""The errors of the OAuth 2.0 API, as authlib has them: each becomes the JSON of its RFC, or a redirect.

Spec: RFC 6749 #section-5.2, RFC 7591 #section-3.2.2, RFC 8628 #section-3.5
"""

from __future__ import annotations

from authlib.oauth2.rfc6749.errors import (  # type: ignore[import-untyped]
    AccessDeniedError,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
    UnsupportedResponseTypeError,
)
from authlib.oauth2.rfc7591.errors import (  # type: ignore[import-untyped]
    InvalidClientMetadataError,
    InvalidRedirectURIError,
)
from authlib.oauth2.rfc8628.errors import (  # type: ignore[import-untyped]
    AuthorizationPendingError,
    ExpiredTokenError,
    SlowDownError,
)

__all__ = [
    "AccessDeniedError",
    "AuthorizationPendingError",
    "ExpiredTokenError",
    "InvalidClientError",
    "InvalidClientMetadataError",
    "InvalidGrantError",
    "InvalidRedirectURIError",
    "InvalidRequestError",
    "InvalidScopeError",
    "OAuth2Error",
    "SlowDownError",
    "UnauthorizedClientError",
    "UnsupportedGrantTypeError",
    "UnsupportedResponseTypeError",
]
