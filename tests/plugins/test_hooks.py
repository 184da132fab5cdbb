"""What the façade promises of each kind of hook: order, refusals, time-outs, and what a failing plugin does."""

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from homeserver.plugin_api import (
    Account,
    EventDraft,
    MatrixError,
    Notification,
    PluginError,
    Pusher,
    RoomView,
    forbidden,
    hookimpl,
)
from homeserver.plugin_api.hooks import HookFigures, Hooks
from homeserver.plugin_api.implementations import RunningPlugin, hook_specifications
from homeserver.protocol.events import Event
from homeserver.runtime.metrics import Metrics

DRAFT = EventDraft("!r:example.org", "m.room.message", "@a:example.org", {"body": "hello"})
ACCOUNT = Account("@a:example.org", "user", False, False, 0)
PUSHER = Pusher("@a:example.org", "http", "app", "key", "App", "Phone", "en", {}, 0)


class Room:
    room_id = "!r:example.org"
    version = "11"
    joined_count = 1
    local_members: Mapping[str, str] = {}

    async def find_state(self, event_type: str, state_key: str = "") -> Event | None:
        return None

    async def load_state(self) -> list[Event]:
        return []


def hooks_of(*instances: object, timeout_s: float = 5.0, figures: HookFigures | None = None) -> Hooks:
    running = [RunningPlugin(type(one).__name__.lower(), one, timeout_s) for one in instances]
    return Hooks(running, figures)


class Appends:
    def __init__(self, text: str) -> None:
        self.text = text

    @hookimpl
    async def check_event_allowed(self, draft: EventDraft, room: RoomView) -> dict[str, Any] | None:
        return {"body": draft.content["body"] + self.text}


class First(Appends):
    pass


class Second(Appends):
    pass


class Refuses:
    def __init__(self) -> None:
        self.asked = 0

    @hookimpl
    async def check_event_allowed(self, draft: EventDraft) -> None:
        self.asked += 1
        raise forbidden("Not here.")

    @hookimpl
    async def check_alias(self, alias: str) -> None:
        raise forbidden(f"{alias} is taken.")


class Fails:
    @hookimpl
    async def check_event_allowed(self, draft: EventDraft) -> None:
        raise KeyError("a mistake")

    @hookimpl
    async def check_alias(self, alias: str) -> None:
        raise KeyError("a mistake")

    @hookimpl
    async def on_account_created(self, account: Account) -> None:
        raise KeyError("a mistake")

    @hookimpl
    async def transform_push_payload(self, pusher: Pusher, notification: Notification) -> Notification:
        raise KeyError("a mistake")


class Hangs:
    @hookimpl
    async def check_alias(self, alias: str) -> None:
        await asyncio.Event().wait()


class ReturnsFalse:
    @hookimpl
    async def check_alias(self, alias: str) -> bool:
        return False


class Observes:
    def __init__(self) -> None:
        self.created: list[str] = []

    @hookimpl
    async def on_account_created(self, account: Account) -> None:
        self.created.append(account.user_id)


async def test_plugins_are_asked_in_order_and_each_sees_what_the_one_before_made_of_it() -> None:
    draft = await hooks_of(First(", first"), Second(", second")).check_event_allowed(DRAFT, Room())
    assert draft.content == {"body": "hello, first, second"}
    assert DRAFT.content == {"body": "hello"}


async def test_the_first_refusal_wins_and_nobody_else_is_asked() -> None:
    refuses, late = Refuses(), Second("!")
    with pytest.raises(MatrixError, match="Not here"):
        await hooks_of(First("?"), refuses, late).check_event_allowed(DRAFT, Room())
    assert refuses.asked == 1


@pytest.mark.parametrize("plugin", [Fails(), Hangs(), ReturnsFalse()])
async def test_a_plugin_that_fails_hangs_or_answers_nonsense_refuses(plugin: object) -> None:
    with pytest.raises(MatrixError) as refusal:
        await hooks_of(plugin, timeout_s=0.02).check_alias("@a:example.org", "#a:example.org", "!r:example.org")
    assert refusal.value.status == 503
    assert "mistake" not in refusal.value.sentence


async def test_an_observer_that_fails_harms_no_other() -> None:
    observes = Observes()
    await hooks_of(Fails(), observes).on_account_created(ACCOUNT)
    assert observes.created == ["@a:example.org"]


class AddsPrio:
    @hookimpl
    async def transform_push_payload(self, pusher: Pusher, notification: Notification) -> Notification:
        return replace(notification, payload={**notification.payload, "prio": "high"})


class DropsAll:
    @hookimpl
    async def transform_push_payload(self, pusher: Pusher, notification: Notification) -> None:
        return None


async def test_a_value_is_handed_along_and_a_failing_transformer_passed_over() -> None:
    given = Notification({"type": "m.room.message"})
    changed = await hooks_of(Fails(), AddsPrio()).transform_push_payload(PUSHER, given)
    assert changed is not None
    assert changed.payload == {"type": "m.room.message", "prio": "high"}
    assert await hooks_of(DropsAll(), AddsPrio()).transform_push_payload(PUSHER, given) is None


async def test_calls_and_failures_are_counted_by_plugin_and_hook() -> None:
    metrics = Metrics()
    hooks = hooks_of(Fails(), Observes(), figures=HookFigures(metrics))
    await hooks.on_account_created(ACCOUNT)
    text = (await metrics.render()).decode()
    assert 'starling_plugin_failures_total{hook="on_account_created",plugin="fails"} 1.0' in text
    assert 'starling_plugin_seconds_count{hook="on_account_created",plugin="observes"} 1.0' in text


class Misspelt:
    @hookimpl
    async def check_evnt_allowed(self, draft: EventDraft) -> None: ...


class Unmarked:
    async def check_alias(self, alias: str) -> None: ...


class WrongArgument:
    @hookimpl
    async def check_alias(self, name: str) -> None: ...


class NotAsync:
    @hookimpl
    def check_alias(self, alias: str) -> None: ...


class AsyncRegister:
    @hookimpl
    async def register_routes(self) -> Sequence[object]:
        return []


class Wraps:
    @hookimpl(wrapper=True)
    def check_alias(self, alias: str) -> Any:
        yield


@pytest.mark.parametrize(
    ("plugin", "sentence"),
    [
        (Misspelt(), r"misspelt: there is no hook check_evnt_allowed; did you mean check_event_allowed\?"),
        (Unmarked(), "unmarked: check_alias is the name of a hook; mark it with @hookimpl"),
        (WrongArgument(), "name"),
        (NotAsync(), "notasync: check_alias must be an async method"),
        (AsyncRegister(), "asyncregister: register_routes must be a plain, not an async method"),
        (Wraps(), "wraps: check_alias is a wrapper"),
    ],
)
def test_a_plugin_that_could_never_be_asked_stops_the_start(plugin: object, sentence: str) -> None:
    with pytest.raises(PluginError, match=sentence):
        hooks_of(plugin)


class Offers:
    def __init__(self, **known: Any) -> None:
        self._known = known

    @hookimpl
    def register_well_known(self) -> Mapping[str, Any]:
        return self._known

    @hookimpl
    def provide_turn_credentials(self) -> Any:
        return self._known


class OffersToo(Offers):
    pass


class Breaks:
    @hookimpl
    def register_well_known(self) -> Mapping[str, Any]:
        raise KeyError("a mistake")


def test_what_all_register_is_put_together_and_a_clash_stops_the_start() -> None:
    assert hooks_of(Offers(a=1), OffersToo(b=2)).well_known() == {"a": 1, "b": 2}
    with pytest.raises(PluginError, match="offers and offerstoo both offer 'a'"):
        hooks_of(Offers(a=1), OffersToo(a=2)).well_known()
    with pytest.raises(PluginError, match="breaks: register_well_known failed: KeyError"):
        hooks_of(Breaks()).well_known()


def test_exactly_one_plugin_provides() -> None:
    one, other = Offers(a=1), OffersToo(b=2)
    assert hooks_of().turn_credentials() is None
    assert hooks_of(one).turn_credentials() == {"a": 1}
    assert hooks_of(one, other).turn_credentials("offerstoo") == {"b": 2}
    with pytest.raises(PluginError, match="offers, offerstoo all have provide_turn_credentials"):
        hooks_of(one, other).turn_credentials()
    with pytest.raises(PluginError, match="the plugin elsewhere does not run"):
        hooks_of(one).turn_credentials("elsewhere")


async def test_without_plugins_nothing_is_asked() -> None:
    hooks = Hooks()
    assert await hooks.check_event_allowed(DRAFT, Room()) is DRAFT
    assert not any(hooks.implements(name) for _, name, _ in hook_specifications())
    assert hooks_of(First("")).implements("check_event_allowed")


def test_every_hook_is_of_a_known_kind_and_documented() -> None:
    for _, name, function in hook_specifications():
        assert name.split("_")[0] in {"check", "provide", "register", "transform", "on"}
        assert (function.__doc__ or "").strip()
        has_coroutine = inspect.iscoroutinefunction(function)
        assert has_coroutine == (name.split("_")[0] in {"check", "transform", "on"}), name
