"""The key by which push services know this server, and the signed statement it sends along with each message.

Spec: RFC 8292 #section-2
"""

from __future__ import annotations

from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from homeserver_plugins.web_push.encryption import decode_base64url, encode_base64url, public_bytes

_PRIVATE_BYTES = 32
_LIFETIME_S = 12 * 3_600  # push services accept at most 24 hours


class VapidKey:
    """A P-256 key pair. `public` is what clients subscribe with: the uncompressed point in URL-safe base64."""

    def __init__(self, private: ec.EllipticCurvePrivateKey, contact: str) -> None:
        self._contact = contact
        self._private = private
        self._signing_key = ECKey.import_key(
            private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
        )
        self.public = encode_base64url(public_bytes(private.public_key()))

    @classmethod
    def read(cls, text: str, contact: str) -> VapidKey:
        """From the private number, 32 bytes in URL-safe base64. ValueError for anything else."""
        raw = decode_base64url(text)
        if len(raw) != _PRIVATE_BYTES:
            raise ValueError("a private VAPID key has 32 bytes")
        return cls(ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1()), contact)

    def authorization(self, endpoint: str, now_ms: int) -> str:
        """The header `Authorization` of a message to this push resource."""
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": now_ms // 1000 + _LIFETIME_S,
            "sub": self._contact,
        }
        token = jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, self._signing_key)
        return f"vapid t={token}, k={self.public}"


def new_private_key() -> str:
    """A fresh private number, as `VapidKey.read` takes it."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return encode_base64url(number.to_bytes(_PRIVATE_BYTES, "big"))
