"""The counter of what is never stored: typing and presence.

It starts at the time of day, so that it goes on upwards after a restart and tokens stay comparable.
"""

from __future__ import annotations

from homeserver.runtime.clock import Clock


class EphemeralCounter:
    """Hands out rising numbers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.value = clock.now_ms()

    def next(self) -> int:
        """A number above all earlier ones."""
        self.value = max(self.value + 1, self._clock.now_ms())
        return self.value
