"""The section `calls`: where clients find what group calls need besides this server."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from homeserver_config.values import Section


def _has_type(transport: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(transport.get("type"), str):
        raise ValueError("a transport needs a `type`, e.g. livekit")
    return transport


class CallSettings(Section):
    """Where clients find what group calls need besides this server."""

    rtc_transports: list[Annotated[dict[str, Any], AfterValidator(_has_type)]] = Field(
        default=[],
        description="Media servers for group calls, e.g. "
        '{"type": "livekit", "livekit_service_url": "https://livekit.example.org"}.',
    )
