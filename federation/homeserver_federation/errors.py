"""What can go wrong with another server: it refuses, or it cannot be reached.

Both are errors of the world, to be handled where the decision is; `as_matrix_error` is for those who only pass on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.errors import MatrixError


class FederationError(Exception):
    """A request to another server has not succeeded. `str` of it is safe to log."""

    def __init__(self, destination: str, sentence: str) -> None:
        super().__init__(sentence)
        self.destination = destination

    def as_matrix_error(self) -> MatrixError:
        """What a client is told that caused the request."""
        return MatrixError("M_UNKNOWN", f"The server {self.destination} cannot be reached.", 502)


class ServerUnreachable(FederationError):
    """No answer of a Matrix server came: wrong address, no connection, a time-out, a bare error page."""

    def __init__(self, destination: str, reason: str) -> None:
        super().__init__(destination, f"{destination} cannot be reached: {reason}")
        self.reason = reason


class ServerNotAllowed(ServerUnreachable):
    """The settings `federation.allow` and `federation.deny` forbid talking to the server."""

    def __init__(self, destination: str) -> None:
        super().__init__(destination, "the settings of this server forbid it")

    def as_matrix_error(self) -> MatrixError:
        return MatrixError("M_FORBIDDEN", f"This server does not talk to {self.destination}.", 403)


class RemoteServerError(FederationError):
    """The server answered with an error. `body` is its whole answer, `retry_after_ms` is set where it names a pause."""

    def __init__(
        self,
        destination: str,
        status: int,
        errcode: str,
        sentence: str,
        body: Mapping[str, Any] | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(destination, f"{destination} answered {status} {errcode}: {sentence}")
        self.status = status
        self.errcode = errcode
        self.sentence = sentence
        self.body: Mapping[str, Any] = body or {}
        self.retry_after_ms = retry_after_ms

    @property
    def is_unknown_endpoint(self) -> bool:
        """Whether the server does not know the endpoint, so that an older one is worth a try."""
        return self.status in (404, 405) and self.errcode == "M_UNRECOGNIZED"

    def as_matrix_error(self) -> MatrixError:
        """The refusal as it came; an error of the other server's own becomes a bad gateway."""
        if 400 <= self.status < 500 and self.status not in (401, 429):
            return MatrixError(self.errcode, self.sentence, self.status)
        return MatrixError("M_UNKNOWN", f"The server {self.destination} failed: {self.sentence}", 502)
