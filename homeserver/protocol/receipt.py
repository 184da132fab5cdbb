"""The checks on receipt of a PDU as pure functions, one per numbered step, and the standing they give an event.

Spec: server-server-api #checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from homeserver.protocol.event_auth import authorise, check_auth_events
from homeserver.protocol.event_auth.membership import SignedBy
from homeserver.protocol.event_hashes import has_valid_content_hash
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import server_name_of
from homeserver.protocol.refusal import Refusal


class Standing(Enum):
    """What became of a valid event. Rejected and soft-failed events are stored too, but not shown to clients."""

    ACCEPTED = "accepted"
    SOFT_FAILED = "soft_failed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event's standing, and unless it was accepted the refusal that decided it."""

    standing: Standing
    refusal: Refusal | None = None

    @property
    def reason(self) -> str | None:
        return None if self.refusal is None else self.refusal.reason


ACCEPTED = Verdict(Standing.ACCEPTED)


def required_signatures(event: Event) -> frozenset[str]:
    """Step 2: the servers that must have signed the event.

    The sender's server, except for invites that redeem a third-party invite (those may be sent by another server);
    the server of the event ID in room versions 1 and 2; the authorising user's server for restricted joins.

    Spec: server-server-api #validating-hashes-and-signatures-on-received-events
    """
    rules = event.room_version.signing
    servers: set[str] = set()
    if not (event.membership == "invite" and "third_party_invite" in event.content):
        servers.add(server_name_of(event.sender))
    if rules.event_id_server_must_sign:
        servers.add(server_name_of(event.event_id))
    if rules.authoriser_server_must_sign and event.membership == "join":
        authoriser = event.content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str):
            servers.add(server_name_of(authoriser))
    return frozenset(servers)


def unaltered_or_redacted(event: Event) -> Event:
    """Step 3: the event itself when its content hash is right, else its redacted copy."""
    return event if has_valid_content_hash(event.pdu) else event.redacted()


def judge_by_auth_events(
    event: Event,
    auth_events: Sequence[Event],
    create: Event | None = None,
    *,
    is_rejected: Callable[[str], bool] = lambda _: False,
    signed_by_authoriser: SignedBy = True,
) -> Verdict:
    """Step 4: rejected unless the event's own auth events are well chosen and allow it.

    `create` is the accepted create event of the room, where the room version does not list it among the auth events.
    """
    refusal = check_auth_events(event, auth_events, is_rejected=is_rejected)
    if refusal is None:
        state = {auth_event.key: auth_event for auth_event in auth_events}
        refusal = authorise(event, state, create, signed_by_authoriser=signed_by_authoriser)
    return ACCEPTED if refusal is None else Verdict(Standing.REJECTED, refusal)


def judge_by_state_before(
    event: Event,
    state_before: Mapping[StateKey, Event],
    create: Event | None = None,
    *,
    signed_by_authoriser: SignedBy = True,
) -> Verdict:
    """Step 5: rejected unless the state before the event allows it."""
    refusal = authorise(event, state_before, create, signed_by_authoriser=signed_by_authoriser)
    return ACCEPTED if refusal is None else Verdict(Standing.REJECTED, refusal)


def judge_by_current_state(
    event: Event,
    current_state: Mapping[StateKey, Event],
    create: Event | None = None,
    *,
    signed_by_authoriser: SignedBy = True,
) -> Verdict:
    """Step 6: soft-failed unless the current state of the room allows it too."""
    refusal = authorise(event, current_state, create, signed_by_authoriser=signed_by_authoriser)
    return ACCEPTED if refusal is None else Verdict(Standing.SOFT_FAILED, refusal)
