"""User-Interactive Authentication: a request succeeds once its sender has completed the stages of one flow.

The session remembers the request's parameters, so that a client may come back with nothing but the session ID.

Spec: client-server-api #user-interactive-authentication-api
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from homeserver.protocol.errors import MatrixError, bad_json, forbidden
from homeserver.storage import ui_auth
from homeserver.storage.ui_auth import UiAuthSession

if TYPE_CHECKING:
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.accounts.ports import AuthStage
    from homeserver.storage.database import Database, Transaction

Flows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class AuthorisedRequest:
    """A request whose stages are complete: its parameters from first to last, and what the stages found out."""

    session_id: str
    body: Mapping[str, Any]
    completed: Mapping[str, Any]


class UserInteractiveAuth:
    """The exchange, for any endpoint. `stages` come from here and from plugins."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        stages: Iterable[AuthStage],
        lifetime_ms: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._lifetime_ms = lifetime_ms
        self._stages: dict[str, AuthStage] = {}
        for stage in stages:
            if stage.stage_type in self._stages:
                raise ValueError(f"two auth stages answer to {stage.stage_type}")
            self._stages[stage.stage_type] = stage

    async def authorise_account(
        self,
        operation: str,
        user_id: str,
        auth: Any,
        body: Mapping[str, Any],
        address: str,
        *,
        fixed: Collection[str] = (),
    ) -> AuthorisedRequest:
        """Have the owner of an account confirm a request; the session is used up by it.

        M_FORBIDDEN if the account has nothing to confirm with; otherwise as `authorise`.
        """
        stages = [stage for stage in self._stages.values() if stage.proves_account]
        flows = [(stage.stage_type,) for stage in stages if await stage.is_available_to(user_id)]
        if not flows:
            raise forbidden("This account has no means to confirm the request.")
        request = await self.authorise(operation, user_id, flows, auth, body, address, fixed=fixed)
        if await self._database.write(ui_auth.take_session, request.session_id) is None:
            raise forbidden("This session has authorised a request already.")
        return request

    async def authorise(
        self,
        operation: str,
        user_id: str | None,
        flows: Flows,
        auth: Any,
        body: Mapping[str, Any],
        address: str,
        *,
        fixed: Collection[str] = (),
    ) -> AuthorisedRequest:
        """Return once a flow is complete, else raise the 401 that tells the client what is missing.

        `operation` names the request and what it is about; a session serves no other. `body` is the request without
        `auth` and secrets; keys in `fixed` may not change during the exchange. The caller uses the session up
        (`storage.ui_auth.take_session`) together with what the request does.
        """
        if auth is not None and not isinstance(auth, dict):
            raise bad_json("`auth` must be an object.")
        session_id = auth.get("session") if auth else None
        if not auth or session_id is None:
            session = await self._create(operation, user_id, body)
            if not auth:
                raise await self._challenge(session, flows)
        else:
            found = await self._find(session_id)
            if found is None:
                session = await self._create(operation, user_id, body)
                raise await self._challenge(session, flows, forbidden("This session is not known, or it has expired."))
            session = await self._continue(found, operation, user_id, body, fixed)
        if auth.get("type") is not None:
            session = await self._attempt(session, flows, auth, address)
        if not any(set(flow) <= session.completed.keys() for flow in flows):
            raise await self._challenge(session, flows)
        return AuthorisedRequest(session.session_id, session.body, session.completed)

    async def complete_outside(self, session_id: str, stage_type: str, auth: Mapping[str, Any], address: str) -> None:
        """Complete a stage for a client that waits elsewhere, from a fallback page; MatrixError if it fails."""
        session = await self._find(session_id)
        stage = self._stages.get(stage_type)
        if session is None or stage is None:
            raise forbidden("This session is not known, or it has expired.")
        if stage_type not in session.completed:
            await self._complete(session, stage, auth, address)

    async def forget_expired(self) -> None:
        """Retention: delete expired sessions, and let their stages release what they reserved."""
        await self._database.write(self._take_expired, self._clock.now_ms())

    def _take_expired(self, tx: Transaction, now_ms: int) -> None:
        for completed in ui_auth.take_expired(tx, now_ms):
            for stage_type, finding in completed.items():
                stage = self._stages.get(stage_type)
                if stage is not None:
                    stage.release(tx, finding)

    async def _create(self, operation: str, user_id: str | None, body: Mapping[str, Any]) -> UiAuthSession:
        expires_ms = self._clock.now_ms() + self._lifetime_ms
        session = UiAuthSession(self._randomness.token(18), operation, user_id, dict(body), {}, expires_ms)
        await self._database.write(ui_auth.create_session, session)
        return session

    async def _find(self, session_id: object) -> UiAuthSession | None:
        if not isinstance(session_id, str):
            raise bad_json("`auth.session` must be a string.")
        session = await self._database.read(ui_auth.find_session, session_id)
        return None if session is None or session.expires_ms <= self._clock.now_ms() else session

    async def _continue(
        self,
        session: UiAuthSession,
        operation: str,
        user_id: str | None,
        body: Mapping[str, Any],
        fixed: Collection[str],
    ) -> UiAuthSession:
        changed = [key for key in fixed if key in body and body[key] != session.body.get(key)]
        if session.operation != operation or session.user_id != user_id or changed:
            raise forbidden("This session was opened for another request.")
        merged = {**session.body, **body}
        if merged != session.body:
            await self._database.write(ui_auth.set_body, session.session_id, merged)
        return replace(session, body=merged)

    async def _attempt(
        self, session: UiAuthSession, flows: Flows, auth: Mapping[str, Any], address: str
    ) -> UiAuthSession:
        stage_type = auth["type"]
        if stage_type in session.completed:
            return session
        stage = self._stages.get(stage_type) if isinstance(stage_type, str) else None
        if stage is None or stage_type not in _next_stages(flows, session.completed):
            raise await self._challenge(session, flows, forbidden("This stage is not the next one of any flow."))
        try:
            return await self._complete(session, stage, auth, address)
        except MatrixError as error:
            if error.status == 429:
                raise
            raise await self._challenge(session, flows, error) from None

    async def _complete(
        self, session: UiAuthSession, stage: AuthStage, auth: Mapping[str, Any], address: str
    ) -> UiAuthSession:
        finding = await stage.check(auth, session, address)
        completed = await self._database.write(_complete_stage, session.session_id, stage, finding)
        return replace(session, completed=completed)

    async def _challenge(self, session: UiAuthSession, flows: Flows, error: MatrixError | None = None) -> MatrixError:
        params = {}
        for stage_type in dict.fromkeys(stage for flow in flows for stage in flow):
            found = await self._stages[stage_type].params() if stage_type in self._stages else None
            if found is not None:
                params[stage_type] = found
        body: dict[str, Any] = {
            "flows": [{"stages": list(flow)} for flow in flows],
            "params": params,
            "session": session.session_id,
        }
        if session.completed:
            body["completed"] = list(session.completed)
        errcode, sentence = (error.errcode, error.sentence) if error is not None else ("", "")
        return MatrixError(errcode, sentence, 401, extra=body)


def _complete_stage(tx: Transaction, session_id: str, stage: AuthStage, finding: Any) -> dict[str, Any]:
    completed = ui_auth.lock_completed(tx, session_id)
    if completed is None:
        raise forbidden("This session has authorised a request already.")
    if stage.stage_type not in completed:
        stage.reserve(tx, finding)
        completed[stage.stage_type] = finding
        ui_auth.set_completed(tx, session_id, completed)
    return completed


def _next_stages(flows: Flows, completed: Collection[str]) -> set[str]:
    """The stages that may be attempted now: of each flow begun in order, the first that is not complete."""
    following = set()
    for flow in flows:
        done = [stage for stage in flow if stage in completed]
        if list(flow[: len(done)]) == done and len(done) < len(flow):
            following.add(flow[len(done)])
    return following
