"""Leads a browser through a login: to the provider, back with a code, to a user name, and on to the client.

Spec: client-server-api #client-login-via-sso
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import RedirectResponse, Response

from homeserver.plugin_api import (
    Auth,
    MatrixError,
    PluginContext,
    Request,
    endpoint,
    error_page,
    page,
    with_login_token,
)
from homeserver_plugins.oauth_login.cookies import SealedCookies
from homeserver_plugins.oauth_login.provider import Identity, NotAllowed, ProviderClient, ProviderFailure
from homeserver_plugins.oauth_login.settings import OauthLoginSettings, ProviderSettings
from homeserver_plugins.oauth_login.usernames import suggested_username

PATH = "/_starling/client/oauth"
_STARTED, _CHOOSING = "starling_sso_", "starling_sso_name"
_TIME_AT_PROVIDER_MS = 15 * 60_000
_TIME_TO_CHOOSE_MS = 15 * 60_000
_LARGEST_FORM = 4_096
_LOST = "This login has expired, or it was begun in another browser. Go back to your app and try again."


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider as clients see it, begun with `begin`. Implements `SsoProvider`."""

    settings: ProviderSettings
    client: ProviderClient
    sign_in: SignIn

    @property
    def provider_id(self) -> str:
        return self.settings.id

    @property
    def name(self) -> str:
        return self.settings.name or self.settings.id

    @property
    def icon(self) -> str | None:
        return self.settings.icon

    @property
    def brand(self) -> str | None:
        return self.settings.brand

    async def begin(self, request: Request, redirect_url: str, action: str | None) -> Response:
        return await self.sign_in.begin(self, redirect_url, action)


class SignIn:
    """The pages and redirects. `cookies` are there from the start of the server on."""

    def __init__(self, context: PluginContext, settings: OauthLoginSettings) -> None:
        self._context = context
        # The server's own pages ask people themselves before they let a client in.
        self._trusted = (f"{context.public_baseurl}/_starling/client/oauth2/", *settings.trusted_clients)
        self._cookies: SealedCookies | None = None
        self.providers: dict[str, Provider] = {}
        for one in settings.providers:
            callback = f"{context.public_baseurl}{PATH}/callback/{one.id}"
            client = ProviderClient(one, context.http, context.clock, callback)
            self.providers[one.id] = Provider(one, client, self)

    def open(self, key: bytes) -> None:
        """Seal cookies with this key from now on."""
        base = urlsplit(self._context.public_baseurl)
        secure = base.scheme == "https"
        self._cookies = SealedCookies(key, self._context.clock, base.path + PATH, secure=secure)

    @property
    def _sealed(self) -> SealedCookies:
        if self._cookies is None:
            raise RuntimeError("somebody logged in before the server started")
        return self._cookies

    async def begin(self, provider: Provider, redirect_url: str, action: str | None) -> Response:
        """Send the browser to the provider, with a cookie that will recognise it when it comes back."""
        random = self._context.randomness
        state, nonce, verifier = random.token(), random.token(), random.token(48)
        try:
            url = await provider.client.authorization_url(state, nonce, verifier, action)
        except ProviderFailure as failure:
            return self._failed(provider, failure)
        answer = RedirectResponse(url, 302, headers={"Cache-Control": "no-store"})
        started = {
            "provider": provider.provider_id,
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "redirect_url": redirect_url,
        }
        self._sealed.put(answer, _STARTED + state[:12], started, _TIME_AT_PROVIDER_MS)
        return answer

    @endpoint("GET", f"{PATH}/callback/{{provider}}", auth=Auth.NONE, limit="login_address")
    async def callback(self, request: Request) -> Response:
        """The browser is back from the provider."""
        provider = self.providers.get(request.path["provider"])
        state = request.find_query("state") or ""
        cookie = _STARTED + state[:12]
        started = self._sealed.find(request, cookie)
        if provider is None or started is None or not _is_for(started, provider, state):
            return error_page(_LOST)
        answer = await self._called_back(request, provider, started)
        self._sealed.drop(answer, cookie)
        return answer

    @endpoint(
        "POST", f"{PATH}/username", auth=Auth.NONE, limit="login_address", body=bytes, max_body_bytes=_LARGEST_FORM
    )
    async def choose_username(self, request: Request, body: bytes) -> Response:
        """A newcomer has chosen a user name."""
        newcomer = self._sealed.find(request, _CHOOSING)
        if newcomer is None:
            return error_page(_LOST)
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        chosen = form.get("username", "").strip().lower()
        identity = Identity(newcomer["subject"], chosen, newcomer["displayname"])
        provider = self.providers.get(newcomer["provider"])
        if provider is None:
            return error_page(_LOST)
        try:
            user_id = await self._open_account(provider, identity, chosen)
        except MatrixError as refusal:
            return self._ask_for_username(chosen, refusal.sentence)
        answer = await self._finish(user_id, newcomer["redirect_url"])
        self._sealed.drop(answer, _CHOOSING)
        return answer

    async def _called_back(self, request: Request, provider: Provider, started: Mapping[str, Any]) -> Response:
        code, error = request.find_query("code"), request.find_query("error")
        if code is None:
            self._context.log.info("login refused by provider", provider=provider.provider_id, error=error)
            return error_page(f"{provider.name} did not log you in.", 403)
        try:
            identity = await provider.client.identify(
                code, started["nonce"], started["verifier"], request.find_query("iss")
            )
        except ProviderFailure as failure:
            return self._failed(provider, failure)
        except NotAllowed as lacking:
            self._context.log.info("login without a required claim", provider=provider.provider_id, claim=str(lacking))
            return error_page("Your account there does not give you access to this server.", 403)
        return await self._recognise(provider, identity, str(started["redirect_url"]))

    async def _recognise(self, provider: Provider, identity: Identity, redirect_url: str) -> Response:
        known = await self._context.store.find(_link(provider, identity))
        if known is not None:
            return await self._finish(str(known), redirect_url)
        suggested = suggested_username(identity.username)
        if provider.settings.link_existing_accounts and suggested:
            user_id = self._context.accounts.user_id_of(suggested)
            if await self._context.accounts.find(user_id) is not None:
                await self._context.store.put(_link(provider, identity), user_id)
                return await self._finish(user_id, redirect_url)
        if not provider.settings.new_accounts:
            return error_page("You have no account on this server, and it opens no new ones.", 403)
        if provider.settings.choose_username or not suggested:
            if not suggested or not await self._context.accounts.is_free(suggested):
                suggested = ""
            answer = self._ask_for_username(suggested, None)
            newcomer = {
                "provider": provider.provider_id,
                "subject": identity.subject,
                "displayname": identity.displayname,
                "redirect_url": redirect_url,
            }
            self._sealed.put(answer, _CHOOSING, newcomer, _TIME_TO_CHOOSE_MS)
            return answer
        try:
            return await self._finish(await self._open_account(provider, identity, suggested), redirect_url)
        except MatrixError as refusal:
            return error_page(refusal.sentence, refusal.status)

    async def _open_account(self, provider: Provider, identity: Identity, localpart: str) -> str:
        """The user ID of a new account, or of the one this person has opened in the meantime."""
        store, link = self._context.store, _link(provider, identity)
        known = await store.find(link)
        if known is not None:
            return str(known)
        if not localpart:
            raise MatrixError("M_INVALID_USERNAME", "Choose a user name.", 400)
        account = await self._context.accounts.create(localpart, displayname=identity.displayname)
        if not await store.put_new(link, account.user_id):
            return str(await store.find(link))
        return account.user_id

    async def _finish(self, user_id: str, redirect_url: str) -> Response:
        """On to the client with a login token; a client nobody has vouched for has to be confirmed first."""
        account = await self._context.accounts.find(user_id)
        if account is None or account.deactivated:
            return error_page("This account has been deactivated.", 403)
        url = with_login_token(redirect_url, await self._context.accounts.create_login_token(user_id))
        if redirect_url.startswith(self._trusted):
            return RedirectResponse(url, 302, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        parts = urlsplit(redirect_url)
        place = parts.netloc if parts.scheme in ("http", "https") else f"an app ({parts.scheme}:)"
        return page(
            "Continue to your account?",
            f"<p>You are about to log in to <b>{escape(place)}</b> as <b>{escape(user_id)}</b>.</p>"
            '<p class="dim">If you do not know this app, close this page: it would get full access to your account.</p>'
            f'<a class="button" href="{escape(url)}">Continue</a>',
        )

    def _ask_for_username(self, suggested: str, mistake: str | None) -> Response:
        server_name = self._context.server_name
        wrong = "" if mistake is None else f'<p class="wrong" role="alert">{escape(mistake)}</p>'
        return page(
            "Choose your user name",
            f"<p>It is part of your address on {escape(server_name)} and cannot be changed later.</p>{wrong}"
            f'<form method="post" action="{escape(self._context.public_baseurl + PATH)}/username">'
            '<label for="username">User name</label>'
            f'<div class="field"><span>@</span><input id="username" name="username" value="{escape(suggested)}" '
            'required autofocus autocapitalize="none" autocomplete="username" spellcheck="false" maxlength="200">'
            f"<span>:{escape(server_name)}</span></div>"
            "<button>Continue</button></form>",
            200 if mistake is None else 400,
        )

    def _failed(self, provider: Provider, failure: ProviderFailure) -> Response:
        self._context.log.warning("identity provider failed", provider=provider.provider_id, reason=str(failure))
        return error_page(f"{provider.name} could not log you in just now. Try again later.", 502)


def _is_for(started: Mapping[str, Any], provider: Provider, state: str) -> bool:
    return started["provider"] == provider.provider_id and hmac.compare_digest(started["state"], state)


def _link(provider: Provider, identity: Identity) -> str:
    """Under which key of the store the account of a person is."""
    return f"user/{provider.provider_id}/{identity.subject}"
