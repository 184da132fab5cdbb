"""The one place where errors become answers: callers' mistakes as they are, everything else as a plain 500.
The log gets the traceback; the answer and the log get no secrets (no query string, no headers, no body).
"""

import structlog

from homeserver.protocol.errors import MatrixError, unrecognized
from homeserver.web.responses import Header, JsonBytes, json_answer

_log = structlog.get_logger("homeserver.web")


def matrix_error_answer(error: MatrixError) -> JsonBytes:
    """The answer to a caller's mistake. An empty errcode leaves `errcode` and `error` out of the body, as the first
    answer of User-Interactive Authentication wants it. Spec: client-server-api #standard-error-response
    """
    body = {"errcode": error.errcode, "error": error.sentence, **error.extra} if error.errcode else error.extra
    headers: list[Header] = []
    retry_after_ms = error.extra.get("retry_after_ms")
    if error.status == 429 and isinstance(retry_after_ms, int):
        headers.append((b"retry-after", b"%d" % -(-retry_after_ms // 1000)))
    return json_answer(body, error.status, headers)


def unexpected_error_answer(error: Exception, *, method: str, operation: str) -> JsonBytes:
    """The answer to a failure of ours: logged with its traceback, a 500 that tells nothing of it."""
    _log.error("request failed", method=method, operation=operation, exc_info=error)
    return json_answer({"errcode": "M_UNKNOWN", "error": "Something went wrong on this server."}, 500)


def no_route_answer(allowed: tuple[str, ...]) -> JsonBytes:
    """404 for a path nobody serves, 405 for a method the path does not know.

    Spec: client-server-api #common-error-codes
    """
    if not allowed:
        return matrix_error_answer(unrecognized("There is no such endpoint."))
    answer = matrix_error_answer(unrecognized("This endpoint does not know this method.", 405))
    answer.headers = ((b"allow", ", ".join((*allowed, "OPTIONS")).encode()),)
    return answer
