"""The specifications of all hooks, one module for each concern.

The first word of a hook is its kind: check_ (the first refusal wins, a plugin that fails refuses), provide_ (exactly
one plugin), register_ (all, concatenated; a clash stops the start), transform_ (a value handed along), on_ (observers).
To add a hook: specify it here, and give the façade (`hooks.py`) the method that calls it.
"""

from homeserver.plugin_api.hookspecs.calls import CallHooks
from homeserver.plugin_api.hookspecs.events import EventHooks
from homeserver.plugin_api.hookspecs.http import HttpHooks
from homeserver.plugin_api.hookspecs.lifecycle import LifecycleHooks
from homeserver.plugin_api.hookspecs.media import MediaHooks
from homeserver.plugin_api.hookspecs.push import PushHooks
from homeserver.plugin_api.hookspecs.registration_and_login import AccountHooks
from homeserver.plugin_api.hookspecs.rooms import RoomHooks
from homeserver.plugin_api.hookspecs.third_party_ids import ThirdPartyIdHooks

ALL_HOOKS: tuple[type, ...] = (
    EventHooks,
    RoomHooks,
    AccountHooks,
    ThirdPartyIdHooks,
    MediaHooks,
    PushHooks,
    CallHooks,
    HttpHooks,
    LifecycleHooks,
)

__all__ = ["ALL_HOOKS"]
