"""Hooks about HTTP: further endpoints, and what the server says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeserver.plugin_api.markers import hookspec


class HttpHooks(Protocol):
    @hookspec
    def register_routes(self) -> Sequence[object]:
        """Objects with `@endpoint` methods. A path and method that is taken already stops the start."""

    @hookspec
    def register_well_known(self) -> Mapping[str, Any]:
        """Further keys of `/.well-known/matrix/client`. Two plugins with one key clash."""

    @hookspec
    def register_capabilities(self) -> Mapping[str, Mapping[str, Any]]:
        """Further capabilities of `GET /capabilities`. Two plugins with one key clash."""

    @hookspec
    def register_unstable_features(self) -> Mapping[str, bool]:
        """Further unstable features of `GET /versions`. Two plugins with one key clash."""
