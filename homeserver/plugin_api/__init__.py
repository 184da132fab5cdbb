"""Everything a plugin imports: hooks, the context, settings, endpoints, and the values they exchange.
A plugin is a class that takes a `PluginContext` (and its settings) and marks its hooks with `@hookimpl`.
"""

from homeserver.plugin_api.accounts import (
    Account,
    AuthAttempt,
    AuthStage,
    CountedUse,
    LoginAttempt,
    LoginMethod,
    LoginRequest,
    RegistrationAttempt,
    RegistrationTokenUse,
    StageFinding,
)
from homeserver.plugin_api.calls import TurnCredentials, TurnCredentialSource
from homeserver.plugin_api.context import (
    AccountAccess,
    EventLog,
    Jobs,
    KeyValueStore,
    OpenIdAccess,
    PluginContext,
    PusherAccess,
    RoomAccess,
)
from homeserver.plugin_api.implementations import PluginError
from homeserver.plugin_api.mail import MailAccess, MailPart
from homeserver.plugin_api.markers import hookimpl
from homeserver.plugin_api.media import (
    MediaLinks,
    MediaStore,
    NotAnImage,
    Thumbnail,
    Thumbnailer,
    ThumbnailMethod,
    ThumbnailSize,
)
from homeserver.plugin_api.pages import error_page, page
from homeserver.plugin_api.push import DeliveryFailed, DigestTransport, Notification, Pusher, PushTransport
from homeserver.plugin_api.rooms import RoomRequest, RoomView
from homeserver.plugin_api.sso import SsoProvider, check_redirect_url, with_login_token
from homeserver.plugin_api.third_party_ids import SmsSender
from homeserver.protocol.errors import (
    JsonValue,
    MatrixError,
    bad_json,
    forbidden,
    invalid_param,
    missing_param,
    not_found,
    unknown,
)
from homeserver.protocol.event_builder import EventDraft
from homeserver.protocol.events import Event
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import HttpClient, HttpResponse, RemoteFailure
from homeserver.runtime.randomness import Randomness
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request
from homeserver.web.requester import Requester
from homeserver_config.values import BaseUrl, ByteSize, Duration, Glob, Secret, Section

__all__ = [
    "Account",
    "AccountAccess",
    "Auth",
    "AuthAttempt",
    "AuthStage",
    "BaseUrl",
    "ByteSize",
    "Clock",
    "CountedUse",
    "DeliveryFailed",
    "DigestTransport",
    "Duration",
    "Event",
    "EventDraft",
    "EventLog",
    "Glob",
    "HttpClient",
    "HttpResponse",
    "Jobs",
    "JsonValue",
    "KeyValueStore",
    "LoginAttempt",
    "LoginMethod",
    "LoginRequest",
    "MailAccess",
    "MailPart",
    "MatrixError",
    "MediaLinks",
    "MediaStore",
    "NotAnImage",
    "Notification",
    "OpenIdAccess",
    "PluginContext",
    "PluginError",
    "PushTransport",
    "Pusher",
    "PusherAccess",
    "Randomness",
    "RegistrationAttempt",
    "RegistrationTokenUse",
    "RemoteFailure",
    "Request",
    "Requester",
    "RoomAccess",
    "RoomRequest",
    "RoomView",
    "Secret",
    "Section",
    "SmsSender",
    "SsoProvider",
    "StageFinding",
    "Thumbnail",
    "ThumbnailMethod",
    "ThumbnailSize",
    "Thumbnailer",
    "TurnCredentialSource",
    "TurnCredentials",
    "bad_json",
    "check_redirect_url",
    "endpoint",
    "error_page",
    "forbidden",
    "hookimpl",
    "invalid_param",
    "missing_param",
    "not_found",
    "page",
    "unknown",
    "with_login_token",
]
