"""The port through which the keys of other servers' users are asked for; federation implements it.

Several servers are asked side by side, and those that do not answer are named in `failures`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from homeserver.protocol.errors import MatrixError
from homeserver.protocol.identifiers import is_user_id, server_name_of

T = TypeVar("T")
V = TypeVar("V")


class RemoteKeys(Protocol):
    """What encryption asks of other servers. Both raise MatrixError when the other side refuses or is away."""

    async def query(
        self, server_name: str, device_keys: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        """What the server says of its users: an object with `device_keys`, `master_keys` and `self_signing_keys`.

        Spec: server-server-api #post_matrixfederationv1userkeysquery
        """

    async def claim(
        self, server_name: str, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        """One-time keys of the server's users: an object with `one_time_keys`.

        Spec: server-server-api #post_matrixfederationv1userkeysclaim
        """


class NoRemoteKeys:
    """What encryption asks when federation is off."""

    async def query(
        self, server_name: str, device_keys: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        raise MatrixError("M_UNKNOWN", "Other servers cannot be asked for keys: federation is off.", 503)

    async def claim(
        self, server_name: str, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> Mapping[str, Any]:
        raise MatrixError("M_UNKNOWN", "Other servers cannot be asked for keys: federation is off.", 503)


def by_server(by_user: Mapping[str, V]) -> dict[str, dict[str, V]]:
    """What is asked of users, by the server they are of; what is no user ID is left out."""
    split: dict[str, dict[str, V]] = {}
    for user_id, value in by_user.items():
        if is_user_id(user_id):
            split.setdefault(server_name_of(user_id), {})[user_id] = value
    return split


async def ask_servers(
    questions: Mapping[str, T],
    ask: Callable[[str, T, int], Awaitable[Mapping[str, Any]]],
    timeout_ms: int,
) -> tuple[dict[str, Mapping[str, Any]], dict[str, Any]]:
    """The answers by server, and the failures of those that did not answer in time."""
    answers: dict[str, Mapping[str, Any]] = {}
    failures: dict[str, Any] = {}

    async def ask_one(server_name: str, question: T) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                answers[server_name] = await ask(server_name, question, timeout_ms)
        except TimeoutError:
            failures[server_name] = {"errcode": "M_UNKNOWN", "error": "The server did not answer in time."}
        except MatrixError as error:
            failures[server_name] = {"errcode": error.errcode, "error": error.sentence}

    await asyncio.gather(*(ask_one(server_name, question) for server_name, question in questions.items()))
    return answers, failures


def objects_of(answer: Mapping[str, Any], name: str, user_ids: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The objects in `answer[name]` about the users that were asked for, and about nobody else."""
    by_user = answer.get(name)
    if not isinstance(by_user, dict):
        return {}
    return {user_id: found for user_id, found in by_user.items() if user_id in user_ids and isinstance(found, dict)}
