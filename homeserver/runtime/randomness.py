"""Randomness, as a collaborator: the system's for the server, a seeded one for tests and simulations.
Everything is derived from `bytes`, so that one seed decides all.
"""

import random
import secrets
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from string import ascii_letters

_LETTERS_LIMIT = 256 - 256 % len(ascii_letters)  # bytes from here on would favour the first letters
_FLOAT_BITS = 53


class Randomness(ABC):
    """Random bytes, and the identifiers made from them."""

    @abstractmethod
    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""

    def token(self, nbytes: int = 32) -> str:
        """A secret text of `nbytes` random bytes, safe in URLs."""
        return urlsafe_b64encode(self.bytes(nbytes)).rstrip(b"=").decode("ascii")

    def letters(self, count: int) -> str:
        """`count` letters a-z and A-Z, each as likely as any other."""
        found = ""
        while len(found) < count:
            found += "".join(ascii_letters[byte % 52] for byte in self.bytes(count) if byte < _LETTERS_LIMIT)
        return found[:count]

    def digits(self, count: int) -> str:
        """`count` digits, e.g. for a code that people type."""
        return f"{self.below(pow(10, count)):0{count}d}"

    def below(self, limit: int) -> int:
        """A number from 0 up to, not including, `limit`."""
        bits = (limit - 1).bit_length()
        count = (bits + 7) // 8
        while True:
            number = int.from_bytes(self.bytes(count), "big") >> (count * 8 - bits)
            if number < limit:
                return number

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` up to `high`, e.g. to spread retries."""
        return low + (high - low) * (self.below(1 << _FLOAT_BITS) / (1 << _FLOAT_BITS))

    def room_localpart(self) -> str:
        """The part of a room id between `!` and `:`."""
        return self.letters(18)

    def event_localpart(self) -> str:
        """The part of an event id between `$` and `:` in room versions that choose it."""
        return self.letters(18)


class SystemRandomness(Randomness):
    """The operating system's source of secrets."""

    def bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)


class SeededRandomness(Randomness):
    """The same values for the same seed. For tests only: everything it makes can be guessed."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)  # noqa: S311 (repeatable on purpose)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)
