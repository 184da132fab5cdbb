"""All sections together: the whole of homeserver.yaml as one frozen value.
Every section has defaults; without any file this is a server for local use.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from homeserver_config.sections.admin_contact import AdminContactSettings
from homeserver_config.sections.application_services import ApplicationServiceSettings
from homeserver_config.sections.caches import CacheSettings
from homeserver_config.sections.calls import CallSettings
from homeserver_config.sections.cluster import ClusterSettings
from homeserver_config.sections.database import DatabaseSettings
from homeserver_config.sections.delayed_events import DelayedEventSettings
from homeserver_config.sections.email import EmailSettings
from homeserver_config.sections.federation import FederationSettings
from homeserver_config.sections.guests import GuestSettings
from homeserver_config.sections.identity_servers import IdentityServerSettings
from homeserver_config.sections.listeners import ListenerSettings
from homeserver_config.sections.logging import LoggingSettings
from homeserver_config.sections.media import MediaSettings
from homeserver_config.sections.oauth_provider import OAuthProviderSettings
from homeserver_config.sections.outgoing import OutgoingSettings
from homeserver_config.sections.passwords import PasswordSettings
from homeserver_config.sections.plugins import PluginEntry
from homeserver_config.sections.presence import PresenceSettings
from homeserver_config.sections.push import PushSettings
from homeserver_config.sections.rate_limits import RateLimitSettings
from homeserver_config.sections.registration import RegistrationSettings
from homeserver_config.sections.retention import RetentionSettings
from homeserver_config.sections.rooms import RoomSettings
from homeserver_config.sections.search import SearchSettings
from homeserver_config.sections.server import ServerSettings
from homeserver_config.sections.sessions import SessionSettings
from homeserver_config.sections.user_directory import UserDirectorySettings
from homeserver_config.sections.well_known import WellKnownSettings
from homeserver_config.values import Section

# What runs when the settings list no plugins; a list of one's own takes their place.
DEFAULT_PLUGINS = (
    "password_login",
    "registration_tokens",
    "media_disk",
    "media_thumbnails",
    "push_gateway",
    "push_email",
)


class Settings(Section):
    """The whole of homeserver.yaml."""

    server: ServerSettings = ServerSettings()
    listeners: list[ListenerSettings] = Field(default=[ListenerSettings()], min_length=1)
    cluster: ClusterSettings = ClusterSettings()
    database: DatabaseSettings = DatabaseSettings()
    registration: RegistrationSettings = RegistrationSettings()
    guests: GuestSettings = GuestSettings()
    sessions: SessionSettings = SessionSettings()
    oauth_provider: OAuthProviderSettings = OAuthProviderSettings()
    passwords: PasswordSettings = PasswordSettings()
    email: EmailSettings = EmailSettings()
    identity_servers: IdentityServerSettings = IdentityServerSettings()
    rate_limits: RateLimitSettings = RateLimitSettings()
    rooms: RoomSettings = RoomSettings()
    delayed_events: DelayedEventSettings = DelayedEventSettings()
    calls: CallSettings = CallSettings()
    media: MediaSettings = MediaSettings()
    presence: PresenceSettings = PresenceSettings()
    push: PushSettings = PushSettings()
    search: SearchSettings = SearchSettings()
    user_directory: UserDirectorySettings = UserDirectorySettings()
    federation: FederationSettings = FederationSettings()
    application_services: ApplicationServiceSettings = ApplicationServiceSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    well_known: WellKnownSettings = WellKnownSettings()
    admin_contact: AdminContactSettings = AdminContactSettings()
    retention: RetentionSettings = RetentionSettings()
    caches: CacheSettings = CacheSettings()
    logging: LoggingSettings = LoggingSettings()
    plugins: list[PluginEntry] = Field(default=[PluginEntry(name=name) for name in DEFAULT_PLUGINS])

    @model_validator(mode="after")
    def _names_of_plugins_differ(self) -> Self:
        names = [plugin.name for plugin in self.plugins]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the plugin {name} is listed twice")
        return self

    @model_validator(mode="after")
    def _addresses_can_be_confirmed(self) -> Self:
        if self.registration.email == "required" and not self.email.enabled:
            raise ValueError("registration.email is required, but email.enabled is false")
        return self

    @property
    def database_url(self) -> str:
        """The database's URL for SQLAlchemy, password included; an SQLite file in the data directory unless set."""
        if self.database.url is not None:
            scheme, separator, rest = self.database.url.reveal().partition("://")
            scheme = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}.get(scheme, scheme)
            return scheme + separator + rest
        return f"sqlite:///{self.server.data_directory / 'homeserver.db'}"

    def as_member(self) -> Self:
        """The settings of one of several processes."""
        return self.model_copy(update={"cluster": self.cluster.model_copy(update={"enabled": True})})

    @property
    def signing_key_path(self) -> Path:
        return self.server.signing_key_path or self.server.data_directory / "signing.key"

    @property
    def public_baseurl(self) -> str:
        """Where clients reach this server, without a slash at the end."""
        if self.server.public_baseurl is not None:
            return self.server.public_baseurl
        if self.server.server_name == "localhost":
            return f"http://localhost:{self.listeners[0].port}"
        return f"https://{self.server.server_name}"
