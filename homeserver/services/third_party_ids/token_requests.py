"""`requestToken`: checks who may confirm which address for what, and sends the message with link and code.

Strangers do not learn which addresses have an account (`email.hide_existence`): the answer is the same, and the owner
is told instead.

Spec: client-server-api #post_matrixclientv3registeremailrequesttoken
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from homeserver.protocol.errors import MatrixError, unknown
from homeserver.protocol.third_party_ids import EMAIL, MSISDN, canonical_address, canonical_email, domain_of
from homeserver.services.third_party_ids.addresses import in_use
from homeserver.services.third_party_ids.validation import lifetime_in_minutes
from homeserver.storage import third_party_ids

if TYPE_CHECKING:
    from homeserver.plugin_api.third_party_ids import SmsSender
    from homeserver.services.mail.outbox import Mail, Outbox
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.services.third_party_ids.validation import PlannedSession, Validation
    from homeserver.storage.database import Database, Transaction
    from homeserver.storage.validation_sessions import ValidationSession
    from homeserver_config.sections.email import EmailSettings
    from homeserver_config.sections.registration import RegistrationSettings

_SMS_PATIENCE_S = 20
_log = structlog.get_logger("homeserver.third_party_ids")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client asks for. `purpose` is "register", "password" or "add"."""

    purpose: str
    client_secret: str
    send_attempt: int
    next_link: str | None
    client_address: str


class TokenRequests:
    """The use cases behind the endpoints. `outbox` is None without e-mail, `sms` without a plugin that sends SMS."""

    def __init__(
        self,
        settings: EmailSettings,
        registration: RegistrationSettings,
        database: Database,
        limits: RateLimits,
        validation: Validation,
        outbox: Outbox | None,
        sms: SmsSender | None,
    ) -> None:
        self._settings = settings
        self._registration = registration
        self._database = database
        self._limits = limits
        self._validation = validation
        self._outbox = outbox
        self._sms = sms

    async def request_email(self, request: TokenRequest, given: str) -> dict[str, Any]:
        """Send an e-mail. M_THREEPID_MEDIUM_NOT_SUPPORTED, M_INVALID_PARAM, M_THREEPID_DENIED, M_THREEPID_IN_USE,
        M_THREEPID_NOT_FOUND, M_LIMIT_EXCEEDED; the body of the answer.
        """
        outbox = self._outbox
        if outbox is None:
            raise not_supported("e-mail addresses")
        self._validation.check_request(request.client_secret, request.next_link)
        address = canonical_email(given)
        self._check_allowed(request, self._registration.email)
        self._check_domain(request, address)
        same = await self._find_same(request, EMAIL, address)
        if same is not None and _was_sent(same, request):
            return self._answer(same.session_id)
        self._take_limits(request, address)
        owner = await self._find_owner(EMAIL, address)
        if not self._settings.hide_existence:
            _check_owner(request.purpose, owner)
        planned = self._plan(request, EMAIL, address, same)
        mail = self._mail(outbox, request.purpose, address, owner, planned)
        expires_ms = planned.session.expires_ms

        def write(tx: Transaction) -> None:
            planned.write(tx)
            outbox.write(tx, mail, expires_ms)

        await self._database.write(write)
        outbox.queued()
        return self._answer(planned.session.session_id)

    async def request_sms(self, request: TokenRequest, country: str, number: str) -> dict[str, Any]:
        """Send a text to a telephone. The same errors; M_UNKNOWN if it could not be sent."""
        sms = self._sms
        if sms is None:
            raise not_supported("telephone numbers")
        self._validation.check_request(request.client_secret, request.next_link)
        msisdn = canonical_address(MSISDN, await sms.canonical_number(country, number))
        self._check_allowed(request, self._registration.phone)
        same = await self._find_same(request, MSISDN, msisdn)
        if same is not None and _was_sent(same, request):
            return self._answer(same.session_id, msisdn)
        self._take_limits(request, msisdn)
        owner = await self._find_owner(MSISDN, msisdn)
        if not self._settings.hide_existence:
            _check_owner(request.purpose, owner)
        planned = self._plan(request, MSISDN, msisdn, same)
        if _is_welcome(request.purpose, owner):
            await self._send_sms(sms, msisdn, f"{self._settings.app_name}: {planned.code} is your code.")
        await self._database.write(planned.write)
        return self._answer(planned.session.session_id, msisdn)

    def _check_allowed(self, request: TokenRequest, at_registration: str) -> None:
        if request.purpose == "register" and (self._registration.mode == "closed" or at_registration == "off"):
            raise MatrixError("M_THREEPID_DENIED", "Nobody opens an account here this way.", 403)

    def _check_domain(self, request: TokenRequest, address: str) -> None:
        allowed = self._registration.email_domains
        if request.purpose == "password" or not allowed:
            return
        if not any(pattern.matches(domain_of(address)) for pattern in allowed):
            raise MatrixError("M_THREEPID_DENIED", "Addresses of this domain are not accepted here.", 403)

    def _take_limits(self, request: TokenRequest, address: str) -> None:
        self._limits.take("validation_request", request.client_address)
        self._limits.take("validation_target", address)

    async def _find_owner(self, medium: str, address: str) -> str | None:
        return await self._database.read(third_party_ids.find_owner, medium, address)

    async def _find_same(self, request: TokenRequest, medium: str, address: str) -> ValidationSession | None:
        return await self._validation.find_same(request.purpose, medium, address, request.client_secret)

    def _plan(self, request: TokenRequest, medium: str, address: str, same: ValidationSession | None) -> PlannedSession:
        return self._validation.plan(
            request.purpose, medium, address, request.client_secret, request.send_attempt, request.next_link, same
        )

    def _mail(self, outbox: Outbox, purpose: str, address: str, owner: str | None, planned: PlannedSession) -> Mail:
        if not _is_welcome(purpose, owner):
            if owner is None:
                return outbox.make(address, "no_account", {"address": address})
            return outbox.make(address, "already_registered", {"address": address, "user_id": owner})
        values = {
            "address": address,
            "link": planned.link,
            "code": planned.code,
            "minutes": lifetime_in_minutes(self._settings),
        }
        return outbox.make(address, f"verify_{purpose}", values)

    async def _send_sms(self, sms: SmsSender, msisdn: str, text: str) -> None:
        try:
            async with asyncio.timeout(_SMS_PATIENCE_S):
                await sms.send(msisdn, text)
        except Exception as error:  # noqa: BLE001 (a plugin may raise anything; all of it means that nothing was sent)
            _log.warning("SMS could not be sent", reason=type(error).__name__)
            raise unknown("The message could not be sent. Try again later.", 502) from None

    def _answer(self, session_id: str, msisdn: str | None = None) -> dict[str, Any]:
        answer = {"sid": session_id, "submit_url": self._validation.submit_url}
        # Clients of today show the number as the server has understood it.
        return answer if msisdn is None else {**answer, "msisdn": msisdn, "intl_fmt": f"+{msisdn}"}


def not_supported(what: str) -> MatrixError:
    return MatrixError("M_THREEPID_MEDIUM_NOT_SUPPORTED", f"This server cannot confirm {what}.", 400)


def _was_sent(session: ValidationSession, request: TokenRequest) -> bool:
    """Whether this is a repetition of a request, or there is nothing left to confirm."""
    return session.validated_ms is not None or session.send_attempt >= request.send_attempt


def _is_welcome(purpose: str, owner: str | None) -> bool:
    """Whether the address may be confirmed: one of an account to reset its password, one of nobody for the rest."""
    return (owner is not None) == (purpose == "password")


def _check_owner(purpose: str, owner: str | None) -> None:
    if _is_welcome(purpose, owner):
        return
    if owner is None:
        raise MatrixError("M_THREEPID_NOT_FOUND", "No account here has this address.", 400)
    raise in_use()
