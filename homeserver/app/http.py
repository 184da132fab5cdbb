"""The table of everything the server answers over HTTP: one list of endpoint instances for each kind of resource.

A listener serves the resources its settings name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeserver.client_api.account_data import AccountDataApi
from homeserver.client_api.account_deactivation import AccountDeactivationApi
from homeserver.client_api.admin import AdminApi
from homeserver.client_api.admin_application_services import AdminApplicationServicesApi
from homeserver.client_api.admin_register import AdminRegisterApi
from homeserver.client_api.appservice_ping import AppservicePingApi
from homeserver.client_api.auth_fallback import AuthFallbackApi, fallback_forms
from homeserver.client_api.authed_content_repo import AuthedContentRepoApi
from homeserver.client_api.capabilities import Capabilities, CapabilitiesApi
from homeserver.client_api.content_repo import ContentRepoApi
from homeserver.client_api.create_room import CreateRoomApi
from homeserver.client_api.cross_signing import CrossSigningApi
from homeserver.client_api.dehydrated_devices import DehydratedDevicesApi
from homeserver.client_api.device_management import DeviceManagementApi
from homeserver.client_api.directory import DirectoryApi
from homeserver.client_api.filter import FilterApi
from homeserver.client_api.key_backup import KeyBackupApi
from homeserver.client_api.keys import KeysApi
from homeserver.client_api.login import LoginApi
from homeserver.client_api.login_fallback import LoginFallbackApi
from homeserver.client_api.login_token import LoginTokenApi
from homeserver.client_api.logout import LogoutApi
from homeserver.client_api.membership import RoomMembershipApi
from homeserver.client_api.notifications import NotificationsApi
from homeserver.client_api.old_sync import OldSyncApi
from homeserver.client_api.openid import OpenIdApi
from homeserver.client_api.password_management import PasswordManagementApi
from homeserver.client_api.presence import PresenceApi
from homeserver.client_api.profile import ProfileApi
from homeserver.client_api.pusher import PusherApi
from homeserver.client_api.pushrules import PushrulesApi
from homeserver.client_api.receipts import ReceiptsApi
from homeserver.client_api.refresh import RefreshApi
from homeserver.client_api.registration import RegistrationApi
from homeserver.client_api.registration_tokens import RegistrationTokensApi
from homeserver.client_api.relations import RelationsApi
from homeserver.client_api.report_content import ReportContentApi
from homeserver.client_api.room_send import RoomSendApi
from homeserver.client_api.room_summary import RoomSummaryApi
from homeserver.client_api.room_upgrades import RoomUpgradesApi
from homeserver.client_api.rooms import RoomsApi
from homeserver.client_api.rtc_transports import RtcTransportsApi, well_known_foci
from homeserver.client_api.search import SearchApi
from homeserver.client_api.sliding_sync import SlidingSyncApi
from homeserver.client_api.sso_login_redirect import SsoLoginRedirectApi
from homeserver.client_api.support import SupportApi
from homeserver.client_api.sync import SyncApi
from homeserver.client_api.tags import TagsApi
from homeserver.client_api.third_party_lookup import ThirdPartyLookupApi
from homeserver.client_api.to_device import ToDeviceApi
from homeserver.client_api.users import UsersApi
from homeserver.client_api.versions import FEATURES, VersionsApi
from homeserver.client_api.voip import VoipApi
from homeserver.client_api.wellknown import WellknownApi, client_well_known
from homeserver.client_api.whoami import WhoamiApi
from homeserver.web.endpoint import Route, routes_of
from homeserver.web.metrics_page import MetricsPage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from homeserver.app.homeserver import Homeserver
    from homeserver.app.media import MediaParts


def client_routes(server: Homeserver) -> list[Route]:
    """The client-server API."""
    settings, accounts, rooms, sync = server.settings, server.accounts, server.rooms, server.sync
    encryption = server.encryption
    transports = settings.calls.rtc_transports
    well_known = None
    if settings.well_known.enabled:
        well_known = client_well_known(
            settings.public_baseurl,
            {**well_known_foci(transports), **server.plugins.hooks.well_known(), **settings.well_known.client_extra},
        )
    hooks = server.plugins.hooks
    capabilities = Capabilities(
        more={**server.delayed_events.capabilities(), **hooks.capabilities()},
        get_login_token=settings.sessions.login_tokens,
        third_party_ids=server.email.has_addresses,
        forget_on_leave=settings.rooms.forget_on_leave,
        default_room_version=settings.rooms.default_room_version,
    )
    oauth = server.oauth_provider
    media = _media_apis(server.media) if server.media is not None else []
    return (
        _routes(
            [
                *media,
                PusherApi(server.plugins.pushers),
                *([RtcTransportsApi(transports)] if transports else []),
                VoipApi(server.plugins.turn_credentials),
                SsoLoginRedirectApi(server.plugins.sso, settings.public_baseurl),
                LoginApi(accounts.sessions, well_known),
                LoginFallbackApi(),
                RegistrationApi(accounts.registration),
                RegistrationTokensApi(accounts.registration),
                LogoutApi(accounts.sessions),
                RefreshApi(accounts.sessions),
                LoginTokenApi(accounts.login_tokens, accounts.interactive_auth),
                WhoamiApi(),
                AuthFallbackApi(
                    accounts.interactive_auth, fallback_forms(settings.registration.terms_url), server.email.page
                ),
                *server.email.apis(),
                PasswordManagementApi(
                    accounts.accounts, accounts.passwords, accounts.interactive_auth, reset=server.email.password_reset
                ),
                AccountDeactivationApi(accounts.accounts, accounts.interactive_auth, server.email.bindings),
                OpenIdApi(server.openid),
                DeviceManagementApi(accounts.devices, accounts.interactive_auth),
                ProfileApi(server.profiles),
                AccountDataApi(server.account_data),
                TagsApi(server.account_data),
                FilterApi(accounts.filters),
                PushrulesApi(server.push_rules),
                VersionsApi(
                    {
                        **FEATURES,
                        "org.matrix.msc4143": bool(transports),
                        **server.delayed_events.features(),
                        **hooks.unstable_features(),
                    }
                ),
                CapabilitiesApi(capabilities),
                WellknownApi(well_known),
                SupportApi(settings.admin_contact),
                KeysApi(encryption.keys),
                CrossSigningApi(
                    encryption.cross_signing, accounts.interactive_auth, None if oauth is None else oauth.approvals
                ),
                *([] if oauth is None else oauth.apis),
                KeyBackupApi(encryption.backups),
                DehydratedDevicesApi(accounts.dehydrated),
                ToDeviceApi(encryption.to_device),
                CreateRoomApi(rooms.create, rooms.directory, server.email.invitations),
                RoomMembershipApi(rooms.membership, rooms.directory, rooms.read, server.email.invitations),
                RoomSendApi(rooms.send, server.delayed_events.delayed),
                server.delayed_events.api(server.limits),
                RoomsApi(rooms.read, rooms.timeline, rooms.client_events, server.user_news),
                RelationsApi(rooms.relations, rooms.client_events, server.user_news),
                RoomUpgradesApi(rooms.upgrade),
                RoomSummaryApi(rooms.summaries, rooms.space_tree, rooms.read),
                ReportContentApi(rooms.reports),
                ThirdPartyLookupApi(server.appservices.lookups),
                AppservicePingApi(server.appservices.services),
                UsersApi(server.user_directory),
                SearchApi(server.search),
                NotificationsApi(rooms.notifications, rooms.client_events),
                DirectoryApi(rooms.directory, rooms.read, needs_login=settings.rooms.public_directory_needs_login),
                ReceiptsApi(sync.receipts, sync.fully_read, sync.typing),
                PresenceApi(sync.presence),
                SyncApi(sync.sync, accounts.filters),
                OldSyncApi(sync.old, rooms.read, rooms.client_events),
                SlidingSyncApi(sync.sliding),
            ]
        )
        + server.plugins.routes
    )


def _media_apis(media: MediaParts) -> list[object]:
    parts = media.uploads, media.library, media.thumbnails, media.previews
    return [ContentRepoApi(*parts), AuthedContentRepoApi(*parts)]


def admin_routes(server: Homeserver) -> list[Route]:
    """What administrators and their tools use."""
    accounts = server.accounts
    return _routes(
        [
            AdminApi(server.settings.server.server_name, accounts.accounts, accounts.devices),
            AdminRegisterApi(accounts.shared_secret),
            AdminApplicationServicesApi(server.appservices.services),
        ]
    )


def metrics_routes(server: Homeserver) -> list[Route]:
    """What monitoring reads."""
    return _routes([MetricsPage(server.metrics)])


def _routes(apis: Iterable[object]) -> list[Route]:
    return [route for api in apis for route in routes_of(api)]
