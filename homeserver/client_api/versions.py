"""`/versions`: which versions of the specification, and which features beyond it, this server speaks.

Spec: client-server-api #api-versions
"""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.protocol.errors import JsonValue
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

SPEC_VERSIONS = ("r0.6.1", *(f"v1.{minor}" for minor in range(1, 16)))

ACCOUNT_FEATURES: Mapping[str, bool] = {
    "org.matrix.msc3391": True,  # deleting account data
    "uk.tcpip.msc4133": True,  # any field in profiles
    "uk.tcpip.msc4133.stable": True,
}


FEATURES: Mapping[str, bool] = {
    **ACCOUNT_FEATURES,
    "org.matrix.msc2285.stable": True,  # private read receipts
    "org.matrix.msc3030": True,  # the event nearest to a date
    "org.matrix.msc3440.stable": True,  # threads
    "org.matrix.msc3771": True,  # receipts in threads
    "org.matrix.msc3773": True,  # notification counts of threads
    "org.matrix.msc3814": True,  # dehydrated devices
    "org.matrix.msc3827.stable": True,  # the directory by room type
    "org.matrix.msc3981": True,  # relations of relations
    "org.matrix.msc4222": True,  # state after the timeline in sync
    "org.matrix.simplified_msc3575": True,  # sliding sync
}


class VersionsApi:
    """`features` are the unstable features of all parts of the server."""

    def __init__(self, features: Mapping[str, bool]) -> None:
        self._answer: dict[str, JsonValue] = {"versions": list(SPEC_VERSIONS), "unstable_features": dict(features)}

    @endpoint("GET", "/_matrix/client/versions", auth=Auth.NONE, operation="getVersions")
    async def get_versions(self, request: Request) -> JsonValue:
        return self._answer
