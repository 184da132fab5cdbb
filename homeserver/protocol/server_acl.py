"""Server access control lists: which servers may take part in a room.

Spec: client-server-api #server-access-control-lists-acls-for-rooms
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.globs import Glob, glob_of
from homeserver.protocol.identifiers import is_ip_literal, split_server_name


class ServerAcl:
    """The rules of one m.room.server_acl event. A room without such an event admits every server."""

    __slots__ = ("_allow", "_allow_ip_literals", "_deny")

    def __init__(self, allow: list[str], deny: list[str], *, allow_ip_literals: bool = True) -> None:
        self._allow: list[Glob] = [glob_of(pattern) for pattern in allow]
        self._deny: list[Glob] = [glob_of(pattern) for pattern in deny]
        self._allow_ip_literals = allow_ip_literals

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> ServerAcl:
        """The rules of an event's content; what is malformed counts as not given, so nobody is allowed by mistake."""
        return cls(
            _strings_of(content.get("allow")),
            _strings_of(content.get("deny")),
            allow_ip_literals=content.get("allow_ip_literals") is not False,
        )

    def allows(self, server_name: str) -> bool:
        """Whether the server may take part; its port does not matter. What is no server name is not allowed."""
        try:
            host, _ = split_server_name(server_name)
        except ValueError:
            return False
        # 2
        if not self._allow_ip_literals and is_ip_literal(host):
            return False
        host = host.lower()
        # 3
        if any(pattern.matches_whole(host) for pattern in self._deny):
            return False
        # 4, 5
        return any(pattern.matches_whole(host) for pattern in self._allow)


def _strings_of(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
