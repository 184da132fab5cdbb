"""The path templates of the server-server API.

Spec: server-server-api #api-standards
"""

from __future__ import annotations


def v1(path: str) -> str:
    return f"/_matrix/federation/v1{path}"


def v2(path: str) -> str:
    return f"/_matrix/federation/v2{path}"
