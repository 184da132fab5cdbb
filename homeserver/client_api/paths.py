"""The path templates of client endpoints: today's version, and the older one that clients in the field still ask for.

Spec: client-server-api #api-standards
"""

from __future__ import annotations


def v3(path: str) -> list[str]:
    """The templates of an endpoint that was there before versions were numbered `v3`."""
    return [f"/_matrix/client/v3{path}", f"/_matrix/client/r0{path}"]


def v1(path: str) -> list[str]:
    return [f"/_matrix/client/v1{path}"]


def unstable(proposal: str, path: str) -> list[str]:
    """The templates of an endpoint that is not specified yet, e.g. of `org.matrix.msc4140`."""
    return [f"/_matrix/client/unstable/{proposal}{path}"]


# The state key may be empty, and then be left out with its slash or without.
STATE_PATHS = [
    path
    for ending in ("/{eventType}/{stateKey}", "/{eventType}/", "/{eventType}")
    for path in v3(f"/rooms/{{roomId}}/state{ending}")
]
