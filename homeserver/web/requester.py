"""Who asks: the answer of an `Authenticator`, handed to every endpoint that wants to know.
Made once per request from the access token; never changed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requester:
    """The account, device and standing behind an access token.

    `device_id` is None for tokens without a device (application services, some admin tokens). `token_nid` is the row
    of the access token, None where no row stands behind it. `appservice_id` names the application service that asks,
    either for itself or for `user_id`, one of its users.
    """

    user_id: str
    device_id: str | None = None
    is_guest: bool = False
    is_admin: bool = False
    appservice_id: str | None = None
    token_nid: int | None = None
    is_suspended: bool = False
    is_rate_limited: bool = True
