"""The errors a caller can cause: an error code of the specification, a sentence for people, an HTTP status.
Raised anywhere, rendered once by `homeserver.web.error_responses`. Spec: client-server-api #standard-error-response
"""

from collections.abc import Mapping
from typing import Any


class MatrixError(Exception):
    """The caller is wrong. `extra` holds further keys of the answer's body."""

    def __init__(
        self, errcode: str, sentence: str, status: int = 400, *, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(errcode, sentence, status)
        self.errcode = errcode
        self.sentence = sentence
        self.status = status
        self.extra: dict[str, Any] = dict(extra) if extra else {}

    def __str__(self) -> str:
        return f"{self.status} {self.errcode}: {self.sentence}"


def forbidden(sentence: str) -> MatrixError:
    return MatrixError("M_FORBIDDEN", sentence, 403)


def not_found(sentence: str) -> MatrixError:
    return MatrixError("M_NOT_FOUND", sentence, 404)


def bad_json(sentence: str) -> MatrixError:
    return MatrixError("M_BAD_JSON", sentence)


def not_json(sentence: str) -> MatrixError:
    return MatrixError("M_NOT_JSON", sentence)


def invalid_param(sentence: str) -> MatrixError:
    return MatrixError("M_INVALID_PARAM", sentence)


def missing_param(sentence: str) -> MatrixError:
    return MatrixError("M_MISSING_PARAM", sentence)


def unrecognized(sentence: str, status: int = 404) -> MatrixError:
    return MatrixError("M_UNRECOGNIZED", sentence, status)


def too_large(sentence: str) -> MatrixError:
    return MatrixError("M_TOO_LARGE", sentence, 413)


def missing_token() -> MatrixError:
    return MatrixError("M_MISSING_TOKEN", "This request needs an access token.", 401)


def unknown_token(sentence: str, soft_logout: bool = False) -> MatrixError:
    return MatrixError("M_UNKNOWN_TOKEN", sentence, 401, extra={"soft_logout": soft_logout})


def limit_exceeded(retry_after_ms: int) -> MatrixError:
    return MatrixError("M_LIMIT_EXCEEDED", "Too many requests.", 429, extra={"retry_after_ms": retry_after_ms})


def unsupported_room_version(version: str) -> MatrixError:
    return MatrixError("M_UNSUPPORTED_ROOM_VERSION", f"This server does not support room version {version!r}.")


def incompatible_room_version(version: str) -> MatrixError:
    sentence = f"The room has version {version!r}, which the asking server does not support."
    return MatrixError("M_INCOMPATIBLE_ROOM_VERSION", sentence, extra={"room_version": version})


def user_in_use(sentence: str) -> MatrixError:
    return MatrixError("M_USER_IN_USE", sentence)


def exclusive(sentence: str) -> MatrixError:
    return MatrixError("M_EXCLUSIVE", sentence)


def unknown(sentence: str, status: int = 400) -> MatrixError:
    return MatrixError("M_UNKNOWN", sentence, status)
