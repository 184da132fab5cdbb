"""The one exception for callers' mistakes, and a constructor for each standard error code.
Raised anywhere below the HTTP layer; rendered once, by the web layer.

Spec: client-server-api #standard-error-response
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

JsonValue: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None


class MatrixError(Exception):
    """The caller is wrong: `errcode` for programs, `sentence` for people, `status` for HTTP.

    `extra` keys are merged into the body beside `errcode` and `error`.
    """

    def __init__(
        self, errcode: str, sentence: str, status: int = 400, *, extra: Mapping[str, JsonValue] | None = None
    ) -> None:
        super().__init__(f"{errcode}: {sentence}")
        self.errcode = errcode
        self.sentence = sentence
        self.status = status
        self.extra: dict[str, Any] = dict(extra) if extra else {}


def forbidden(sentence: str) -> MatrixError:
    return MatrixError("M_FORBIDDEN", sentence, 403)


def not_found(sentence: str) -> MatrixError:
    return MatrixError("M_NOT_FOUND", sentence, 404)


def bad_json(sentence: str) -> MatrixError:
    """The body is JSON, but not of the required shape."""
    return MatrixError("M_BAD_JSON", sentence, 400)


def not_json(sentence: str) -> MatrixError:
    """The body is not JSON at all."""
    return MatrixError("M_NOT_JSON", sentence, 400)


def invalid_param(sentence: str) -> MatrixError:
    return MatrixError("M_INVALID_PARAM", sentence, 400)


def missing_param(sentence: str) -> MatrixError:
    return MatrixError("M_MISSING_PARAM", sentence, 400)


def unrecognized(sentence: str, status: int = 404) -> MatrixError:
    return MatrixError("M_UNRECOGNIZED", sentence, status)


def too_large(sentence: str) -> MatrixError:
    return MatrixError("M_TOO_LARGE", sentence, 413)


def missing_token() -> MatrixError:
    return MatrixError("M_MISSING_TOKEN", "An access token is required for this request.", 401)


def unknown_token(sentence: str, soft_logout: bool = False) -> MatrixError:
    return MatrixError("M_UNKNOWN_TOKEN", sentence, 401, extra={"soft_logout": True} if soft_logout else None)


def limit_exceeded(retry_after_ms: int) -> MatrixError:
    return MatrixError(
        "M_LIMIT_EXCEEDED", "Too many requests; try again later.", 429, extra={"retry_after_ms": retry_after_ms}
    )


def unsupported_room_version(version: object) -> MatrixError:
    return MatrixError("M_UNSUPPORTED_ROOM_VERSION", f"This server does not support room version {version!r}.", 400)


def incompatible_room_version(version: str) -> MatrixError:
    """The other server cannot take part in a room of this version."""
    return MatrixError(
        "M_INCOMPATIBLE_ROOM_VERSION",
        f"Your server does not support the room's version, {version!r}.",
        400,
        extra={"room_version": version},
    )


def user_in_use(sentence: str) -> MatrixError:
    return MatrixError("M_USER_IN_USE", sentence, 400)


def exclusive(sentence: str) -> MatrixError:
    return MatrixError("M_EXCLUSIVE", sentence, 400)


def unknown(sentence: str, status: int = 400) -> MatrixError:
    return MatrixError("M_UNKNOWN", sentence, status)
