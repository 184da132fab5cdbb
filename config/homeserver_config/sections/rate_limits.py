"""The section `rate_limits`: how often things may be done, a bucket for each kind of thing.
A bucket fills by `per_second` up to `burst`; each request takes one out.
"""

from pydantic import Field

from homeserver_config.values import Section


class RateLimit(Section):
    """One bucket: `per_second` requests in the long run, `burst` at once."""

    per_second: float = Field(gt=0, description="Requests a second in the long run.")
    burst: int = Field(ge=1, description="Requests at once after a pause.")


def _limit(per_second: float, burst: int, description: str) -> RateLimit:
    bucket: RateLimit = Field(default=RateLimit(per_second=per_second, burst=burst), description=description)
    return bucket


class RateLimitSettings(Section):
    """How often things may be done: a bucket fills by per_second up to burst, each request takes one out."""

    enabled: bool = Field(default=True, description="Turn all limits off with false; for tests and benchmarks.")
    message: RateLimit = _limit(10, 60, "Events sent, by account.")
    delayed_event: RateLimit = _limit(5, 100, "Delayed events looked at, restarted, sent or cancelled, each.")
    typing: RateLimit = _limit(5, 30, "Typing notices, by account.")
    receipt: RateLimit = _limit(10, 60, "Receipts and read markers, by account.")
    presence: RateLimit = _limit(1, 10, "Presence updates, by account.")
    to_device: RateLimit = _limit(20, 200, "Messages to devices, by account.")
    key_upload: RateLimit = _limit(5, 50, "Uploads of device keys, cross-signing keys and key backups, by account.")
    key_query: RateLimit = _limit(10, 100, "Queries and claims of device keys, by account.")
    login_address: RateLimit = _limit(0.5, 15, "Logins, by client address.")
    login_account: RateLimit = _limit(0.2, 10, "Logins, by the account they are for.")
    login_failed: RateLimit = _limit(0.1, 8, "Failed logins, by the account they are for.")
    oauth_page: RateLimit = _limit(1, 40, "Pages and forms of the OAuth 2.0 login and the account, by client address.")
    oauth_client: RateLimit = _limit(0.2, 20, "OAuth 2.0 clients that register, by client address.")
    oauth_token: RateLimit = _limit(3, 60, "OAuth 2.0 tokens asked for and revoked, by client address.")
    registration: RateLimit = _limit(0.2, 5, "New accounts, by client address.")
    registration_token: RateLimit = _limit(0.1, 5, "Checks whether a registration token is valid, by client address.")
    validation_request: RateLimit = _limit(0.05, 10, "Requests to confirm an address or number, by client address.")
    validation_target: RateLimit = _limit(0.005, 5, "Messages to one e-mail address or number.")
    account: RateLimit = _limit(0.5, 10, "Changes of password, e-mail addresses and the like, by account.")
    profile: RateLimit = _limit(1, 20, "Changes of the profile, by account.")
    join: RateLimit = _limit(0.5, 30, "Joins and knocks, by account.")
    invite: RateLimit = _limit(0.5, 20, "Invitations sent, by account.")
    create_room: RateLimit = _limit(0.2, 15, "Rooms created or upgraded, by account.")
    directory: RateLimit = _limit(5, 50, "Look-ups in the room directory and of aliases, by account.")
    search: RateLimit = _limit(1, 20, "Searches of messages and people, by account.")
    media_upload: RateLimit = _limit(2, 30, "Uploads of media, by account.")
    media_download: RateLimit = _limit(50, 500, "Downloads of media, by account.")
    url_preview: RateLimit = _limit(2, 30, "URL previews, by account.")
    report: RateLimit = _limit(0.2, 10, "Reports of content, by account.")
    federation: RateLimit = _limit(50, 500, "Requests of another server, by its name.")
    remote_join: RateLimit = _limit(1, 20, "Joins and invitations over federation, by the other server's name.")

    def find_bucket(self, name: str) -> RateLimit | None:
        """The bucket of that name, None if there is none."""
        bucket = getattr(self, name, None) if name in type(self).model_fields else None
        return bucket if isinstance(bucket, RateLimit) else None
