from __future__ import annotations

from homeserver.protocol import errors


def test_constructors_carry_code_and_status() -> None:
    cases = [
        (errors.forbidden("x"), "M_FORBIDDEN", 403),
        (errors.not_found("x"), "M_NOT_FOUND", 404),
        (errors.bad_json("x"), "M_BAD_JSON", 400),
        (errors.not_json("x"), "M_NOT_JSON", 400),
        (errors.invalid_param("x"), "M_INVALID_PARAM", 400),
        (errors.missing_param("x"), "M_MISSING_PARAM", 400),
        (errors.unrecognized("x"), "M_UNRECOGNIZED", 404),
        (errors.unrecognized("x", 405), "M_UNRECOGNIZED", 405),
        (errors.too_large("x"), "M_TOO_LARGE", 413),
        (errors.missing_token(), "M_MISSING_TOKEN", 401),
        (errors.unknown_token("x"), "M_UNKNOWN_TOKEN", 401),
        (errors.limit_exceeded(5), "M_LIMIT_EXCEEDED", 429),
        (errors.unsupported_room_version("x"), "M_UNSUPPORTED_ROOM_VERSION", 400),
        (errors.incompatible_room_version("x"), "M_INCOMPATIBLE_ROOM_VERSION", 400),
        (errors.user_in_use("x"), "M_USER_IN_USE", 400),
        (errors.exclusive("x"), "M_EXCLUSIVE", 400),
        (errors.unknown("x", 500), "M_UNKNOWN", 500),
    ]
    assert [(error.errcode, error.status) for error, _, _ in cases] == [(code, status) for _, code, status in cases]


def test_extra_keys() -> None:
    assert errors.limit_exceeded(1500).extra == {"retry_after_ms": 1500}
    assert errors.unknown_token("x", soft_logout=True).extra == {"soft_logout": True}
    assert errors.unknown_token("x").extra == {}
    assert errors.incompatible_room_version("9").extra == {"room_version": "9"}


def test_extra_is_copied() -> None:
    source = {"a": 1}
    error = errors.MatrixError("M_X", "sentence", extra=source)
    source["a"] = 2
    assert error.extra == {"a": 1}
    assert str(error) == "M_X: sentence"
