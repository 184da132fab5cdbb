"""What matrix-nio sees of rooms, of the people in them and of accounts, without encryption."""

from __future__ import annotations

import asyncio

from interop.nio_device import PASSWORD, Device, Devices, good
from nio import InviteMemberEvent, LoginError, RegisterErrorResponse
from nio.events import RedactedEvent, RoomEncryptedMedia, RoomMemberEvent, RoomMessageText, RoomTopicEvent, UnknownEvent
from nio.events.account_data import FullyReadEvent
from nio.events.ephemeral import ReceiptEvent, TypingNoticeEvent
from nio.events.presence import PresenceEvent
