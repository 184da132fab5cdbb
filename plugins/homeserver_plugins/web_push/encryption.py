"""The encryption of a Web Push message: `aes128gcm`, for the public key and the secret of one subscription.
Pure functions; the sender's key and the salt are handed in, fresh ones for each message.

Spec: RFC 8291 #section-3.4, RFC 8188 #section-2
"""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUTH_BYTES = 16
_RECORD_SIZE = 4096
_POINT_BYTES = 65
_TAG_BYTES = 16
_LAST_RECORD = b"\x02"
_LARGEST_MESSAGE = 4096  # what every push service has to accept, RFC 8030 #section-7.2
_HEADER_BYTES = 16 + 4 + 1 + _POINT_BYTES

LARGEST_PLAINTEXT = _LARGEST_MESSAGE - _HEADER_BYTES - _TAG_BYTES - len(_LAST_RECORD)


def decode_base64url(text: str) -> bytes:
    """The bytes of URL-safe base64, with or without padding. ValueError for anything else."""
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    try:
        return base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError("this is not URL-safe base64") from error


def encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def read_public_key(text: str) -> ec.EllipticCurvePublicKey:
    """A P-256 key from its uncompressed point in URL-safe base64. ValueError for anything else."""
    raw = decode_base64url(text)
    if len(raw) != _POINT_BYTES:
        raise ValueError("a key has 65 bytes")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def encrypt(
    plaintext: bytes, receiver: ec.EllipticCurvePublicKey, auth: bytes, sender: ec.EllipticCurvePrivateKey, salt: bytes
) -> bytes:
    """The body of the request to the push service; ValueError above LARGEST_PLAINTEXT bytes."""
    if len(plaintext) > LARGEST_PLAINTEXT:
        raise ValueError("the message is too large for a push service")
    sent_key = public_bytes(sender.public_key())
    shared = sender.exchange(ec.ECDH(), receiver)
    key_material = _derive(shared, auth, b"WebPush: info\x00" + public_bytes(receiver) + sent_key, 32)
    content_key = _derive(key_material, salt, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _derive(key_material, salt, b"Content-Encoding: nonce\x00", 12)
    header = salt + _RECORD_SIZE.to_bytes(4, "big") + bytes([len(sent_key)]) + sent_key
    return header + AESGCM(content_key).encrypt(nonce, plaintext + _LAST_RECORD, None)


def _derive(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(material)
