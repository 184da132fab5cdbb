"""Media kept by this server, its own and copies of other servers': rows of `media`.

An id made in advance has a row without bytes, until it is uploaded or expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from sqlalchemy import BigInteger, Integer, bindparam, delete, func, select, update

from homeserver.storage.tables.media import media
from homeserver.storage.upsert import insert_or_ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from homeserver.storage.database import Transaction

MediaKind = Literal["upload", "remote", "preview"]
MediaKey = tuple[str, str]
"""Server name and media id."""


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """What is known of bytes in the media store. `width` and `height` (pixels) only of pictures."""

    store_id: str
    size: int
    sha256: bytes
    width: int | None = None
    height: int | None = None
    animated: bool = False


@dataclass(frozen=True, slots=True)
class Media:
    """One file. `size`, `sha256` and `store_id` are None for an id that waits for its upload until `expires_ms`.

    `public` says whether it may be downloaded without a login; `user_id` is None for what nobody here uploaded.
    """

    server_name: str
    media_id: str
    kind: MediaKind
    user_id: str | None
    content_type: str
    filename: str | None
    created_ms: int
    last_access_ms: int
    public: bool = False
    size: int | None = None
    sha256: bytes | None = None
    store_id: str | None = None
    width: int | None = None
    height: int | None = None
    animated: bool = False
    expires_ms: int | None = None
    quarantined_by: str | None = None

    @property
    def key(self) -> MediaKey:
        return self.server_name, self.media_id

    @property
    def is_uploaded(self) -> bool:
        return self.store_id is not None


_COLUMNS = tuple(media.c[field.name] for field in fields(Media))


_KEY = (media.c.server_name == bindparam("server"), media.c.media_id == bindparam("id"))
_MOST = bindparam("most", type_=Integer)
_BEFORE = bindparam("before_ms", type_=BigInteger)
_SELECT = select(*_COLUMNS).where(*_KEY)
_SELECT_OF_USER = (
    select(*_COLUMNS)
    .where(media.c.user_id == bindparam("user"), media.c.created_ms < _BEFORE)
    .order_by(media.c.created_ms.desc(), media.c.media_id)
    .limit(_MOST)
)
_SELECT_UNUSED = (
    select(*_COLUMNS).where(media.c.kind == bindparam("kind"), media.c.last_access_ms < _BEFORE).limit(_MOST)
)
_PENDING = (media.c.user_id == bindparam("user"), media.c.expires_ms > bindparam("now_ms"), media.c.store_id.is_(None))
_COUNT_PENDING = select(func.count(), func.min(media.c.expires_ms)).where(*_PENDING)
_SUM_OF_USER = select(func.count(), func.coalesce(func.sum(media.c.size), 0)).where(
    media.c.user_id == bindparam("user"), media.c.store_id.is_not(None)
)
_INSERT = insert_or_ignore(media, ["server_name", "media_id"]).returning(media.c.media_id)
_FINISH = (
    update(media)
    .where(*_KEY, media.c.store_id.is_(None))
    .values(
        content_type=bindparam("new_content_type"),
        filename=bindparam("new_filename"),
        size=bindparam("new_size"),
        sha256=bindparam("new_sha256"),
        store_id=bindparam("new_store_id"),
        width=bindparam("new_width"),
        height=bindparam("new_height"),
        animated=bindparam("new_animated"),
        expires_ms=None,
    )
)
_TOUCH = (
    update(media)
    .where(*_KEY, media.c.last_access_ms < bindparam("accessed_ms"))
    .values(last_access_ms=bindparam("accessed_ms"))
)
_QUARANTINE = update(media).where(*_KEY).values(quarantined_by=bindparam("by"))
_DELETE = delete(media).where(*_KEY)
_DELETE_EXPIRED = delete(media).where(media.c.expires_ms < _BEFORE, media.c.store_id.is_(None))


def find_media(connection: Connection, key: MediaKey) -> Media | None:
    """One file's row, whether its bytes are here or not."""
    row = connection.execute(_SELECT, _bound(key)).first()
    return None if row is None else Media(*row)


def load_media_of_user(connection: Connection, user_id: str, before_ms: int, most: int) -> list[Media]:
    """A user's own media, created before a time, newest first."""
    rows = connection.execute(_SELECT_OF_USER, {"user": user_id, "before_ms": before_ms, "most": most})
    return [Media(*row) for row in rows]


def load_unused(connection: Connection, kind: MediaKind, before_ms: int, most: int) -> list[Media]:
    """At most `most` files of a kind that nobody asked for since a time."""
    rows = connection.execute(_SELECT_UNUSED, {"kind": kind, "before_ms": before_ms, "most": most})
    return [Media(*row) for row in rows]


def load_usage(connection: Connection, user_id: str) -> tuple[int, int]:
    """How many files a user has uploaded, and their bytes."""
    count, size = connection.execute(_SUM_OF_USER, {"user": user_id}).one()
    return int(count), int(size)


def create_media(tx: Transaction, row: Media) -> bool:
    """Insert a file; False if its id is taken."""
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    return tx.connection.execute(_INSERT, values).first() is not None


def reserve_media(tx: Transaction, row: Media, most: int) -> int | None:
    """Insert an id without bytes, unless its user already has `most` of them waiting.

    None if it was inserted, otherwise when the first of the waiting ones expires.
    """
    pending = tx.connection.execute(_COUNT_PENDING, {"user": row.user_id, "now_ms": row.created_ms})
    count, first_expires_ms = pending.one()
    if count >= most:
        return int(first_expires_ms)
    create_media(tx, row)
    return None


def finish_upload(tx: Transaction, key: MediaKey, content_type: str, filename: str | None, stored: StoredBytes) -> bool:
    """Give an id its bytes; False if it has some or is gone."""
    values = {
        **_bound(key),
        "new_content_type": content_type,
        "new_filename": filename,
        "new_size": stored.size,
        "new_sha256": stored.sha256,
        "new_store_id": stored.store_id,
        "new_width": stored.width,
        "new_height": stored.height,
        "new_animated": stored.animated,
    }
    return tx.connection.execute(_FINISH, values).rowcount == 1


def touch_media(tx: Transaction, accesses: Mapping[MediaKey, int]) -> None:
    """Note when files were last asked for (milliseconds)."""
    rows = [{**_bound(key), "accessed_ms": accessed_ms} for key, accessed_ms in sorted(accesses.items())]
    if rows:
        tx.connection.execute(_TOUCH, rows)


def set_quarantined_by(tx: Transaction, key: MediaKey, user_id: str | None) -> bool:
    """Withhold a file, or give it free again with None; False if there is no such file."""
    return tx.connection.execute(_QUARANTINE, {**_bound(key), "by": user_id}).rowcount == 1


def delete_media(tx: Transaction, key: MediaKey) -> None:
    """Forget one file."""
    tx.connection.execute(_DELETE, _bound(key))


def delete_expired(tx: Transaction, before_ms: int) -> int:
    """Forget ids made in advance that expired before a time without an upload; how many."""
    return tx.connection.execute(_DELETE_EXPIRED, {"before_ms": before_ms}).rowcount


def _bound(key: MediaKey) -> dict[str, object]:
    return {"server": key[0], "id": key[1]}
