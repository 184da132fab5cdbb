"""The application services at work: taken in, changed and removed while the server runs, each with its delivery.

Registrations come from the files in the settings and, made at run time by administrators, from the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from homeserver.protocol.errors import MatrixError, bad_json, forbidden, not_found
from homeserver.runtime.http_client import RemoteFailure, RemoteTimeout
from homeserver.services.appservices.appservice import Appservice
from homeserver.services.appservices.delivery import Delivery, DeliveryParts, wake_all
from homeserver.storage import application_services as rows
from homeserver.storage.accounts import User
from homeserver.storage.profiles import Profile
from homeserver_config.application_service import Registration, parse_registration, read_registrations
from homeserver_config.reader import ConfigError

if TYPE_CHECKING:
    from homeserver.runtime.background import BackgroundTasks
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.appservices.directory import AppserviceDirectory
    from homeserver.services.cluster.leases import Leases
    from homeserver.storage.changes import Change
    from homeserver_config.sections.application_services import ApplicationServiceSettings

_PRESENCE_EVERY_S = 2.0
_PING_PATIENCE_S = 30.0
_MOST_SHOWN = 4_000
_log = structlog.get_logger("homeserver.appservices")

Loaded = Sequence[tuple[Path, Registration]]


class Appservices:
    """Takes services in and out. `loaded` are the registrations of the files as read at the start."""

    def __init__(
        self,
        server_name: str,
        settings: ApplicationServiceSettings,
        loaded: Loaded,
        directory: AppserviceDirectory,
        accounts: Accounts,
        background: BackgroundTasks,
        parts: DeliveryParts,
    ) -> None:
        self._server_name = server_name
        self._settings = settings
        self._loaded = loaded
        self._directory = directory
        self._accounts = accounts
        self._background = background
        self._parts = parts
        self._deliveries: dict[str, Delivery] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()
        self._may_deliver = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener()` called when this process changes what is registered."""
        self._listeners.append(listener)

    async def start(self, leases: Leases) -> None:
        """Take in everything that is registered, once the database is open."""
        for path, registration in self._loaded:
            await self._put(Appservice(registration, self._server_name, str(path)))
        for name, raw in (await self._parts.database.read(rows.load_registrations)).items():
            try:
                registration = parse_registration(raw.decode(), name)
                await self._put_made_at_run_time(registration)
            except (ConfigError, ValueError) as problem:
                _log.error("a stored application service cannot be used", appservice=name, problem=str(problem))
        self._directory.on_contact(self._contact)
        self._parts.typing.on_change(self._tell(lambda delivery, room_id: delivery.news.typing_changed(room_id)))
        self._parts.presence.on_change(self._tell(lambda delivery, user_id: delivery.news.presence_changed(user_id)))
        self._background.run_every("appservice-presence", _PRESENCE_EVERY_S, self._spread_presence)
        await leases.begin("application_services", self._begin_deliveries)

    def follow(self, changes: Sequence[Change], position: int | None) -> None:
        """Hear of a commit."""
        if self._may_deliver.is_set():
            for delivery in self._deliveries.values():
                delivery.follow(changes, position)

    # What administrators do

    def describe(self) -> list[dict[str, Any]]:
        """All services and how they stand, without their tokens."""
        return [self._described(appservice) for appservice in self._directory.all()]

    def describe_one(self, appservice_id: str) -> dict[str, Any]:
        """One service and how it stands. M_NOT_FOUND."""
        appservice = self._directory.find(appservice_id)
        if appservice is None:
            raise not_found("There is no such application service.")
        return self._described(appservice)

    async def register(self, appservice_id: str, body: dict[str, Any]) -> None:
        """Take a service in, or change one that was made at run time. M_BAD_JSON, M_FORBIDDEN for one of a file."""
        text = orjson.dumps({"id": appservice_id, **body}).decode()
        try:
            registration = parse_registration(text, "registration")
        except ConfigError as error:
            told = (": ".join(filter(None, (one.key, one.sentence))) for one in error.mistakes)
            raise bad_json("; ".join(told)) from None
        if registration.id != appservice_id:
            raise bad_json("`id` is not the ID in the path.")
        async with self._changing:
            self._check_not_of_a_file(appservice_id)
            try:
                await self._put_made_at_run_time(registration)
            except ValueError as problem:
                raise bad_json(str(problem)) from None
            now_ms = self._parts.clock.now_ms()
            await self._parts.database.write(rows.store_registration, appservice_id, text.encode(), now_ms)
        self._changed()

    async def unregister(self, appservice_id: str) -> None:
        """Forget a service that was made at run time. Its users stay. M_NOT_FOUND, M_FORBIDDEN for one of a file."""
        async with self._changing:
            self._check_not_of_a_file(appservice_id)
            if self._directory.find(appservice_id) is None:
                raise not_found("There is no such application service.")
            await self._remove(appservice_id)
            await self._parts.database.write(rows.delete_registration, appservice_id)
        self._changed()

    async def reload(self) -> list[str]:
        """Read the registration files again; the IDs of the services that came, went or changed.

        M_BAD_JSON with every mistake, and then nothing has changed.
        """
        try:
            loaded = read_registrations(self._settings.registrations)
        except ConfigError as error:
            raise bad_json(str(error)) from None
        async with self._changing:
            changed = await self._take_over(loaded)
        self._changed()
        return changed

    async def take_over(self) -> None:
        """Another process changed what is registered."""
        async with self._changing:
            await self._take_over(read_registrations(self._settings.registrations))
            stored = await self._parts.database.read(rows.load_registrations)
            old = {one.id: one for one in self._directory.all() if one.source is None}
            for appservice_id in old.keys() - stored.keys():
                await self._remove(appservice_id)
            for name, raw in stored.items():
                registration = parse_registration(raw.decode(), name)
                if name not in old or old[name].registration != registration:
                    await self._put_made_at_run_time(registration)

    async def ping(self, appservice_id: str, asking: str | None, transaction_id: str | None) -> int:
        """Call a service that asks for it; how long it took, in milliseconds.

        M_FORBIDDEN, M_URL_NOT_SET, M_BAD_STATUS, M_CONNECTION_TIMEOUT, M_CONNECTION_FAILED.

        Spec: application-service-api #pinging
        """
        appservice = self._directory.find(appservice_id)
        if appservice is None or asking != appservice_id:
            raise forbidden("The access token is not that of this application service.")
        if appservice.url is None:
            raise MatrixError("M_URL_NOT_SET", "The application service has no URL.", 400)
        body = {} if transaction_id is None else {"transaction_id": transaction_id}
        started = self._parts.clock.monotonic()
        try:
            answer = await self._parts.requests.ask(appservice, "POST", "/ping", json=body, timeout_s=_PING_PATIENCE_S)
        except RemoteTimeout as failure:
            raise MatrixError("M_CONNECTION_TIMEOUT", str(failure), 504) from None
        except RemoteFailure as failure:
            raise MatrixError("M_CONNECTION_FAILED", str(failure), 502) from None
        if not 200 <= answer.status < 300:
            shown = answer.body[:_MOST_SHOWN].decode("utf-8", "replace")
            extra: dict[str, Any] = {"status": answer.status, "body": shown}
            raise MatrixError("M_BAD_STATUS", f"It answered with the status {answer.status}.", 502, extra=extra)
        return round((self._parts.clock.monotonic() - started) * 1000)

    # How it is done

    async def _take_over(self, loaded: Loaded) -> list[str]:
        changed: list[str] = []
        old = {one.id: one for one in self._directory.all() if one.source is not None}
        wanted = {registration.id for _, registration in loaded}
        for appservice_id in old.keys() - wanted:
            await self._remove(appservice_id)
            changed.append(appservice_id)
        for path, registration in loaded:
            before = old.get(registration.id)
            if before is None or before.registration != registration:
                await self._put(Appservice(registration, self._server_name, str(path)))
                changed.append(registration.id)
        return sorted(changed)

    async def _put_made_at_run_time(self, registration: Registration) -> None:
        found = self._directory.find(registration.id)
        if found is not None and found.source is not None:
            raise ValueError(f"the file {found.source} registers this ID")
        await self._put(Appservice(registration, self._server_name))

    async def _put(self, appservice: Appservice) -> None:
        """Take a service in, in place of an older one of its ID. ValueError if its token is another's."""
        self._directory.put(appservice)
        await self._end_delivery(appservice.id)
        await self._make_sender(appservice)
        delivery = Delivery(appservice, self._parts)
        self._deliveries[appservice.id] = delivery
        self._tasks[appservice.id] = self._background.keep_running(
            f"appservice {appservice.id}", lambda: self._deliver(delivery)
        )

    async def _begin_deliveries(self) -> None:
        self._may_deliver.set()

    async def _deliver(self, delivery: Delivery) -> None:
        """Deliver for ever, once no other process does."""
        await self._may_deliver.wait()
        await delivery.run()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    async def _remove(self, appservice_id: str) -> None:
        self._directory.remove(appservice_id)
        await self._end_delivery(appservice_id)

    async def _end_delivery(self, appservice_id: str) -> None:
        self._deliveries.pop(appservice_id, None)
        task = self._tasks.pop(appservice_id, None)
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _make_sender(self, appservice: Appservice) -> None:
        if await self._accounts.find(appservice.sender) is None:
            user = User(appservice.sender, "bot", self._parts.clock.now_ms(), appservice_id=appservice.id)
            localpart = appservice.registration.sender_localpart
            await self._accounts.open(user, Profile(localpart))

    def _check_not_of_a_file(self, appservice_id: str) -> None:
        found = self._directory.find(appservice_id)
        if found is not None and found.source is not None:
            raise forbidden(f"The file {found.source} registers this application service: change it there.")

    def _described(self, appservice: Appservice) -> dict[str, Any]:
        namespaces = appservice.registration.namespaces
        described: dict[str, Any] = {
            "id": appservice.id,
            "url": appservice.url,
            "sender": appservice.sender,
            "source": appservice.source or "run time",
            "protocols": list(appservice.protocols),
            "rate_limited": appservice.is_rate_limited,
            "namespaces": namespaces.model_dump(),
        }
        delivery = self._deliveries.get(appservice.id)
        if delivery is not None:
            described["lag"] = delivery.lag
            if delivery.back_off is not None:
                described["down_since_ts"] = delivery.back_off.failing_since_ms
                described["next_attempt_ts"] = delivery.back_off.retry_at_ms
                described["problem"] = delivery.last_error
        return described

    def _contact(self, appservice_id: str) -> None:
        delivery = self._deliveries.get(appservice_id)
        if delivery is not None:
            delivery.contact()

    def _tell(self, tell: Callable[[Delivery, str], None]) -> Callable[[str], None]:
        def listener(name: str) -> None:
            for delivery in self._deliveries.values():
                tell(delivery, name)

        return listener

    async def _spread_presence(self) -> None:
        wake_all(self._deliveries.values())
