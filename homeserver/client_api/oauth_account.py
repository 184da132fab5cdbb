"""The account pages: profile, devices, password, the reset of cross-signing, the end of the account.

What cannot be undone is said before it is done, and asks its user to log in again unless they have just done so.

Spec: client-server-api #oauth-20-account-management
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import structlog
from starlette.responses import Response

from homeserver.client_api import oauth_pages as pages
from homeserver.client_api.oauth_browser import LARGEST_FORM, Browsers, Visitor, as_page_error, check_text
from homeserver.client_api.oauth_login import LOGIN
from homeserver.plugin_api.pages import error_page
from homeserver.protocol.errors import MatrixError, not_found
from homeserver.services.accounts.ports import LoginRequest
from homeserver.services.oauth_provider.server_metadata import ACCOUNT_PATH, ACTIONS
from homeserver.web.endpoint import Auth, endpoint
from homeserver.web.request import Request

if TYPE_CHECKING:
    from homeserver.services.accounts.accounts import Accounts
    from homeserver.services.accounts.sessions import Sessions
    from homeserver.services.devices.devices import Device, Devices
    from homeserver.services.oauth_provider.browser_sessions import Approvals
    from homeserver.services.oauth_provider.server_metadata import Places
    from homeserver.services.profiles import Profiles

_NAMES = {name: name for name in ACTIONS} | {
    older: name for name, old in ACTIONS.items() for older in (old, f"org.matrix.{old}")
}
_PROFILE, _DEVICES, _DEVICE, _DELETE, _DEACTIVATE, _RESET = ACTIONS
_PASSWORD = "org.starling.password"  # noqa: S105 - the name of a page
_PASSWORD_LOGIN = "m.login.password"  # noqa: S105 - the name of a login type
_log = structlog.get_logger("homeserver.oauth_provider")

Page = Callable[[Request, Visitor, str], Awaitable[Response]]
Deed = Callable[[Request, Visitor, str, dict[str, str]], Awaitable[Response]]


class OAuthAccountApi:
    def __init__(
        self,
        places: Places,
        browsers: Browsers,
        accounts: Accounts,
        sessions: Sessions,
        devices: Devices,
        profiles: Profiles,
        approvals: Approvals,
    ) -> None:
        self._places = places
        self._browsers = browsers
        self._accounts = accounts
        self._sessions = sessions
        self._devices = devices
        self._profiles = profiles
        self._approvals = approvals
        self._pages: dict[str, Page] = {
            "": self._show_overview,
            _PROFILE: self._show_profile,
            _DEVICES: self._show_devices,
            _DEVICE: self._show_device,
            _DELETE: self._show_delete,
            _DEACTIVATE: self._show_deactivate,
            _RESET: self._show_reset,
            _PASSWORD: self._show_password,
        }
        self._deeds: dict[str, Deed] = {
            _PROFILE: self._set_profile,
            _DELETE: self._delete_device,
            _DEACTIVATE: self._deactivate,
            _RESET: self._approve_reset,
            _PASSWORD: self._set_password,
        }
        self._grave = frozenset((_DELETE, _DEACTIVATE, _RESET))

    @endpoint("GET", ACCOUNT_PATH, auth=Auth.NONE, limit="oauth_page")
    async def show(self, request: Request) -> Response:
        visitor = await self._browsers.visitor(request)
        action = request.find_query("action") or ""
        action = _NAMES.get(action, action)
        page = self._pages.get(action, self._show_overview)
        if visitor.session is None or (
            action in self._grave and not self._browsers.sessions.is_recent(visitor.session)
        ):
            return self._browsers.keep(visitor, self._ask_to_log_in(request, visitor))
        try:
            check_text(request.query)
            return self._browsers.keep(visitor, await page(request, visitor, visitor.session.user_id))
        except MatrixError as error:
            return error_page(*as_page_error(error))

    @endpoint("POST", ACCOUNT_PATH, auth=Auth.NONE, limit="oauth_page", body=bytes, max_body_bytes=LARGEST_FORM)
    async def do(self, request: Request, body: bytes) -> Response:
        visitor = await self._browsers.visitor(request)
        try:
            form = await self._browsers.form(request, body, visitor)
            action = form.get("action", "")
            deed = self._deeds.get(action)
            if deed is None:
                raise not_found("There is no such page.")
            session = visitor.session
            if session is None or (action in self._grave and not self._browsers.sessions.is_recent(session)):
                path = f"{ACCOUNT_PATH}?{urlencode({'action': action})}"
                return self._browsers.redirect(LOGIN, next=path, again="1")
            return await deed(request, visitor, session.user_id, form)
        except MatrixError as error:
            return error_page(*as_page_error(error))

    # The pages

    async def _show_overview(self, request: Request, visitor: Visitor, user_id: str) -> Response:
        entries = [
            ("Profile", "The name others see", self._url(_PROFILE)),
            ("Devices", "Where you are logged in", self._url(_DEVICES)),
        ]
        if await self._has_password(user_id):
            entries.append(("Password", "Change it", self._url(_PASSWORD)))
        entries += [
            ("Cross-signing", "Reset your digital identity", self._url(_RESET)),
            ("Deactivate account", "Close it for good", self._url(_DEACTIVATE)),
        ]
        out = pages.form(
            self._places("logout"), visitor.csrf, pages.button("Log out of this page", kind="quiet"), next=ACCOUNT_PATH
        )
        return pages.show("Your account", pages.paragraph(user_id), pages.links(entries), out)

    async def _show_profile(self, request: Request, visitor: Visitor, user_id: str) -> Response:
        profile = await self._profiles.fetch(user_id)
        name = pages.text_field(
            "Display name",
            "displayname",
            str(profile.get("displayname") or ""),
            more='maxlength="256" autocomplete="nickname"',
        )
        return pages.show(
            "Your profile",
            pages.paragraph(user_id),
            self._form(visitor, _PROFILE, name, pages.button("Save")),
            self._back(),
        )

    async def _show_devices(self, request: Request, visitor: Visitor, user_id: str) -> Response:
        devices = await self._devices.list_of(user_id)
        devices.sort(key=lambda device: -(device.last_seen_ms or device.created_ms))
        entries = [
            (device.display_name or device.device_id, _last_seen(device), self._url(_DEVICE, device.device_id))
            for device in devices
        ]
        said = pages.paragraph("You are logged in on these devices." if entries else "You are logged in nowhere.")
        return pages.show("Your devices", said, pages.links(entries), self._back())

    async def _show_device(self, request: Request, visitor: Visitor, user_id: str) -> Response:
        device = await self._devices.get(user_id, request.find_query("device_id") or "")
        return pages.show(
            device.display_name or "A device",
            _facts_of(device),
            pages.link_button("Log this device out", self._url(_DELETE, device.device_id), quiet=True),
            pages.link_button("All devices", self._url(_DEVICES), quiet=True),
        )

    async def _show_delete(self, request: Request, visitor: Visitor, user_id: str) -> Response:
        device = await self._devices.get(user_id, request.find_query("device_id") or "")
        return pages.show(
            "Log this device out?",
            _facts_of(device),
            pages.paragraph("Messages whose keys are on this device only, and in no backup, cannot be read any more."),
            self._form(visitor, _DELETE, pages.button("Log it out", kind="danger"), device_id=device.device_id),
            pages.link_button("Cancel", self._url(_DEVICES), quiet=True),
        )

    async def _show_password(
        self, request: Request, visitor: Visitor, user_id: str, error: MatrixError | None = None
    ) -> Response:
        if not await self._has_password(user_id):
            raise not_found("This account has no password here.")
        sentence, status = (None, 200) if error is None else as_page_error(error)
        return pages.show(
            "Change your password",
            pages.wrong(sentence),
            self._form(
                visitor,
                _PASSWORD,
                pages.password_field("Old password", "old_password", new=False),
                pages.password_field("New password", "new_password", new=True),
                pages.check_box("log_out", "Log out all of my devices"),
                pages.button("Change password"),
            ),
            self._back(),
            status=status,
        )

    async def _show_deactivate(self, request: Request, visitor: Visitor, user_id: str) -> Response:
        return pages.show(
            "Deactivate your account?",
            pages.paragraph(user_id),
            pages.paragraph(
                "You will be logged out everywhere and leave all rooms. Nobody can ever use this name again."
            ),
            self._form(
                visitor,
                _DEACTIVATE,
                pages.check_box("sure", "I understand that this cannot be undone.", required=True),
                pages.check_box("erase", "Erase my data: newcomers to a room will not see my messages."),
                pages.button("Deactivate my account", kind="danger"),
            ),
            pages.link_button("Cancel", self._places.account, quiet=True),
        )

    async def _show_reset(self, request: Request, visitor: Visitor, user_id: str) -> Response:
        return pages.show(
            "Reset your digital identity?",
            pages.paragraph(user_id),
            pages.paragraph(
                "Only do this if your app asks for it and you have no other device and no recovery key. "
                "Everybody you have verified will have to verify you again."
            ),
            self._form(visitor, _RESET, pages.button("Allow the reset", kind="danger")),
            pages.link_button("Cancel", self._places.account, quiet=True),
        )

    # What they do

    async def _set_profile(self, request: Request, visitor: Visitor, user_id: str, form: dict[str, str]) -> Response:
        name = form.get("displayname", "").strip()
        await self._profiles.set_field(user_id, "displayname", {"displayname": name})
        return self._done("Your name has been changed.")

    async def _delete_device(self, request: Request, visitor: Visitor, user_id: str, form: dict[str, str]) -> Response:
        device = await self._devices.get(user_id, form.get("device_id", ""))
        await self._devices.delete(user_id, [device.device_id])
        _log.info("device ended on account page", user_id=user_id, device_id=device.device_id)
        return self._done("The device has been logged out.")

    async def _set_password(self, request: Request, visitor: Visitor, user_id: str, form: dict[str, str]) -> Response:
        old = {
            "type": _PASSWORD_LOGIN,
            "identifier": {"type": "m.id.user", "user": user_id},
            "password": form.get("old_password", ""),
        }
        log_out = form.get("log_out") == "yes"
        try:
            if await self._sessions.identify(LoginRequest(old, request.client_address)) != user_id:
                raise not_found("This is the password of another account.")
            await self._accounts.set_password(user_id, form.get("new_password", ""), log_out=log_out)
        except MatrixError as error:
            _log.info("password not changed", user_id=user_id, errcode=error.errcode, address=request.client_address)
            return self._browsers.keep(visitor, await self._show_password(request, visitor, user_id, error))
        _log.info("password changed", user_id=user_id, logged_out=log_out, address=request.client_address)
        # The other browsers are logged out with it; this one goes on.
        visitor = await self._browsers.begin(visitor, user_id)
        return self._browsers.keep(visitor, self._done("Your password has been changed."))

    async def _deactivate(self, request: Request, visitor: Visitor, user_id: str, form: dict[str, str]) -> Response:
        if form.get("sure") != "yes":
            return await self._show_deactivate(request, visitor, user_id)
        await self._accounts.deactivate(user_id, erase=form.get("erase") == "yes")
        _log.info("account deactivated by its user", user_id=user_id, address=request.client_address)
        return self._browsers.leave(
            pages.show("Good-bye", pages.paragraph("Your account has been deactivated. You can close this page."))
        )

    async def _approve_reset(self, request: Request, visitor: Visitor, user_id: str, form: dict[str, str]) -> Response:
        await self._approvals.approve(user_id)
        return pages.show(
            "Go back to your app",
            pages.paragraph("The reset is allowed for the next ten minutes. Your app goes on by itself."),
        )

    # What they share

    def _ask_to_log_in(self, request: Request, visitor: Visitor) -> Response:
        query = urlencode([(name, value) for name, value in request.query_items if name in ("action", "device_id")])
        path = f"{ACCOUNT_PATH}?{query}" if query else ACCOUNT_PATH
        if visitor.session is None:
            return self._browsers.redirect(LOGIN, next=path)
        return self._browsers.redirect(LOGIN, next=path, again="1")

    async def _has_password(self, user_id: str) -> bool:
        user = await self._accounts.find(user_id)
        return user is not None and user.password_hash is not None and self._sessions.has_method(_PASSWORD_LOGIN)

    def _url(self, action: str, device_id: str | None = None) -> str:
        query = {"action": action} | ({} if device_id is None else {"device_id": device_id})
        return f"{self._places.account}?{urlencode(query)}"

    def _form(self, visitor: Visitor, action: str, *parts: str, **hidden: str) -> str:
        return pages.form(self._places.account, visitor.csrf, *parts, action=action, **hidden)

    def _back(self) -> str:
        return pages.link_button("Your account", self._places.account, quiet=True)

    def _done(self, sentence: str) -> Response:
        return pages.show("Done", pages.done(sentence), self._back())


def _facts_of(device: Device) -> str:
    return pages.facts(
        [
            ("Device", device.device_id),
            ("Name", device.display_name),
            ("Logged in", _date(device.created_ms)),
            ("Last used", None if device.last_seen_ms is None else _date(device.last_seen_ms)),
            ("Address", device.last_seen_ip),
            ("Program", device.user_agent),
        ]
    )


def _last_seen(device: Device) -> str:
    return "Never used" if device.last_seen_ms is None else f"Last used {_date(device.last_seen_ms)}"


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%d %B %Y, %H:%M UTC")
