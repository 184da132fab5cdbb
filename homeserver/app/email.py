"""Builds everything about e-mail and third-party identifiers: messages, their queue, confirmations, identity servers.

Accounts are built with the stages from here; `attach` adds what needs accounts and rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.client_api.administrative_contact import AdministrativeContactApi
from homeserver.client_api.auth_fallback_email import EmailPage
from homeserver.client_api.third_party_ids import ThirdPartyIdsApi
from homeserver.client_api.validation_pages import ValidationPagesApi
from homeserver.services.mail.delivery import MailDelivery
from homeserver.services.mail.outbox import Outbox
from homeserver.services.mail.templates import MailTemplates
from homeserver.services.third_party_ids.addresses import Addresses
from homeserver.services.third_party_ids.auth_stages import EMAIL_STAGE, MSISDN_STAGE, AddressStage
from homeserver.services.third_party_ids.bindings import Bindings
from homeserver.services.third_party_ids.identity_servers import IdentityServers
from homeserver.services.third_party_ids.invites import ThirdPartyInvitations
from homeserver.services.third_party_ids.password_reset import PasswordReset
from homeserver.services.third_party_ids.token_requests import TokenRequests
from homeserver.services.third_party_ids.validation import Validation

if TYPE_CHECKING:
    from homeserver.app.accounts import AccountParts
    from homeserver.app.rooms import RoomParts
    from homeserver.plugin_api.third_party_ids import SmsSender
    from homeserver.protocol.signing import SigningKey
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.http_client import HttpClient
    from homeserver.runtime.randomness import Randomness
    from homeserver.services.profiles import Profiles
    from homeserver.services.rate_limiter import RateLimits
    from homeserver.storage.database import Database
    from homeserver_config.settings import Settings

_RETENTION_EVERY_S = 3_600.0


class EmailParts:
    """`outbox` is None where no e-mail is sent; `has_addresses` says whether anybody can have an address."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        http: HttpClient,
        signing_key: SigningKey,
        limits: RateLimits,
        sms: SmsSender | None,
    ) -> None:
        self._settings = settings
        self._database = database
        server_name = settings.server.server_name
        email = settings.email
        self.outbox: Outbox | None = None
        self._delivery: MailDelivery | None = None
        if email.enabled:
            templates = MailTemplates(email.template_directory, email.app_name, server_name)
            self.outbox = Outbox(email, database, clock, templates)
            self._delivery = MailDelivery(email, server_name, database, clock, randomness, self.outbox)
        self.validation = Validation(email, settings.public_baseurl, database, clock, randomness)
        self.addresses = Addresses(database, clock, self.outbox, sms)
        self._requests = TokenRequests(
            email, settings.registration, database, limits, self.validation, self.outbox, sms
        )
        self.page = EmailPage(self._requests, randomness) if self.outbox is not None else None
        self._identity_servers = IdentityServers(settings.identity_servers, http, server_name, signing_key)
        self._bindings = Bindings(database, self._identity_servers)
        self._stage_types = [
            *([EMAIL_STAGE] if self.outbox is not None else []),
            *([MSISDN_STAGE] if sms is not None else []),
        ]
        self.password_reset: PasswordReset | None = None
        self._accounts: AccountParts | None = None
        self._invitations: ThirdPartyInvitations | None = None

    @property
    def has_addresses(self) -> bool:
        return bool(self._stage_types)

    @property
    def bindings(self) -> Bindings | None:
        """None where nothing can have been published."""
        return self._bindings if self.has_addresses else None

    @property
    def stage_types(self) -> list[str]:
        """Those of `m.login.email.identity` and `m.login.msisdn` that people can complete here."""
        return self._stage_types

    @property
    def stages(self) -> list[AddressStage]:
        return [AddressStage(stage_type, self.validation) for stage_type in self._stage_types]

    @property
    def invitations(self) -> ThirdPartyInvitations:
        if self._invitations is None:
            raise RuntimeError("invitations were asked for before there were rooms")
        return self._invitations

    def attach(self, accounts: AccountParts, rooms: RoomParts, profiles: Profiles) -> None:
        """Hand in the services that were built after these."""
        self._accounts = accounts
        self._invitations = ThirdPartyInvitations(
            rooms.rooms, rooms.events, rooms.membership, rooms.send, profiles, self._identity_servers
        )
        if self.has_addresses:
            self.password_reset = PasswordReset(
                self._database,
                accounts.accounts,
                accounts.interactive_auth,
                self.addresses,
                self.validation,
                self._stage_types,
            )

    def apis(self) -> list[object]:
        """The endpoints about addresses."""
        if self._accounts is None or not self.has_addresses:
            return [AdministrativeContactApi()]
        return [
            ThirdPartyIdsApi(
                self.addresses, self._requests, self.validation, self._bindings, self._accounts.interactive_auth
            ),
            ValidationPagesApi(self.validation, self._settings.email.app_name),
        ]

    def start(self, background: BackgroundTasks) -> None:
        """Begin to send what waits. The database is open."""
        if self._delivery is not None:
            self._delivery.start(background)
        background.run_every("validation-retention", _RETENTION_EVERY_S, self.validation.forget_expired)
