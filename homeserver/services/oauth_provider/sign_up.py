"""Sign-up on the server's own page: the registration every client goes through, with a form as the client.

Spec: client-server-api #user-registration
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from homeserver.protocol.errors import MatrixError
from homeserver.services.accounts.auth_stages import DUMMY, REGISTRATION_TOKEN, TERMS
from homeserver.services.accounts.sessions import ClientDetails

if TYPE_CHECKING:
    from homeserver.services.accounts.registration import Registration

FORM_STAGES = (DUMMY, TERMS, REGISTRATION_TOKEN)
"""The stages that a form completes by itself; others have a page of their own."""

_log = structlog.get_logger("homeserver.oauth_provider")


class StageLeft(Exception):
    """A stage has to be completed on its own page before the sign-up goes on with `session`."""

    def __init__(self, session: str, stage_type: str, remaining: Sequence[str]) -> None:
        super().__init__(stage_type)
        self.session = session
        self.stage_type = stage_type
        self.remaining = tuple(remaining)


class SignUp:
    """Opens accounts for people in a browser. `terms_url` is what they agree to, None without terms."""

    def __init__(self, registration: Registration, terms_url: str | None) -> None:
        self._registration = registration
        self.terms_url = terms_url

    @property
    def is_open(self) -> bool:
        return self._registration.is_open

    @property
    def stages(self) -> tuple[str, ...]:
        """What everybody has to complete."""
        return self._registration.flow

    async def begin(self, username: str, password: str, form: Mapping[str, str], address: str, user_agent: str) -> str:
        """The user ID of a new account. StageLeft; MatrixError for everything a newcomer can mend."""
        body = {"username": username, "password": password, "inhibit_login": True}
        client = ClientDetails(address=address, user_agent=user_agent)
        try:
            return self._opened(await self._registration.register(body, client, None), address)
        except MatrixError as challenge:
            session = _session_of(challenge)
        return await self._complete(session, self.stages, body, form, client)

    async def go_on(self, session: str, form: Mapping[str, str], address: str, user_agent: str) -> str:
        """As `begin`, for a newcomer who has been to the page of a stage."""
        client = ClientDetails(address=address, user_agent=user_agent)
        body = {"auth": {"session": session}}
        try:
            return self._opened(await self._registration.register(body, client, None), address)
        except MatrixError as challenge:
            if _session_of(challenge) != session:
                raise MatrixError("M_FORBIDDEN", "This took too long. Please start again.", 403) from None
            completed = challenge.extra.get("completed", ())
        remaining = [stage for stage in self.stages if stage not in completed]
        return await self._complete(session, remaining, {}, form, client)

    async def _complete(
        self,
        session: str,
        stages: Sequence[str],
        body: Mapping[str, Any],
        form: Mapping[str, str],
        client: ClientDetails,
    ) -> str:
        for number, stage in enumerate(stages):
            if stage not in FORM_STAGES:
                raise StageLeft(session, stage, stages[number:])
            auth = {"type": stage, "session": session} | _answers(stage, form)
            try:
                opened = await self._registration.register({**body, "auth": auth}, client, None)
            except MatrixError as challenge:
                _session_of(challenge)
                if challenge.errcode:
                    raise MatrixError(challenge.errcode, challenge.sentence, 403) from None
                continue
            return self._opened(opened, client.address)
        raise MatrixError("M_FORBIDDEN", "Something is missing. Please start again.", 403)

    def _opened(self, answer: Mapping[str, Any], address: str) -> str:
        user_id = str(answer["user_id"])
        _log.info("signed up in browser", user_id=user_id, address=address)
        return user_id


def _session_of(challenge: MatrixError) -> str:
    """The session of User-Interactive Authentication an error belongs to; any other error is raised on."""
    if challenge.status != 401 or "session" not in challenge.extra:
        raise challenge
    return str(challenge.extra["session"])


def _answers(stage: str, form: Mapping[str, str]) -> dict[str, str]:
    if stage == REGISTRATION_TOKEN:
        return {"token": form.get("token", "").strip()}
    if stage == TERMS and form.get("terms") != "yes":
        raise MatrixError("M_FORBIDDEN", "Please agree to the terms to go on.", 400)
    return {}
