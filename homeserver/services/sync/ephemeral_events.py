"""The content of what is told of a room besides its events: receipts.

Spec: client-server-api #receipts
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from homeserver.storage.receipts import READ_PRIVATE, Receipt


def receipts_content(receipts: Iterable[Receipt], user_id: str) -> dict[str, Any]:
    """The content of an m.receipt event; private receipts are shown to their owner alone.

    Spec: client-server-api #mreceipt
    """
    content: dict[str, Any] = {}
    for receipt in receipts:
        if receipt.receipt_type == READ_PRIVATE and receipt.user_id != user_id:
            continue
        details: dict[str, Any] = {"ts": receipt.received_ms}
        if receipt.thread_id:
            details["thread_id"] = receipt.thread_id
        content.setdefault(receipt.event_id, {}).setdefault(receipt.receipt_type, {})[receipt.user_id] = details
    return content
