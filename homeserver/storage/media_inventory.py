"""What the media store should hold: the files of `media` and of `media_thumbnails`, page by page.

Read by what goes through all files: migrations between stores, back-ups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Integer, LargeBinary, Text, bindparam, func, null, select, union_all

from homeserver.storage.tables.media import media, media_thumbnails

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the store. `sha256` is not known of thumbnails."""

    store_id: str
    size: int
    sha256: bytes | None


_AFTER = bindparam("after", type_=Text)
_MOST = bindparam("most", type_=Integer)
_ALL = union_all(
    select(media.c.store_id, media.c.size, media.c.sha256).where(media.c.store_id.is_not(None)),
    select(
        media_thumbnails.c.store_id,
        media_thumbnails.c.size,
        null().cast(LargeBinary).label("sha256"),
    ),
).subquery()
_COUNT = select(func.count(), func.coalesce(func.sum(_ALL.c.size), 0))
_PAGE = (
    select(_ALL.c.store_id, _ALL.c.size, _ALL.c.sha256)
    .where(_ALL.c.store_id > _AFTER)
    .order_by(_ALL.c.store_id)
    .limit(_MOST)
)


def load_amount(connection: Connection) -> tuple[int, int]:
    """How many files the store should hold, and their bytes."""
    count, size = connection.execute(_COUNT).one()
    return int(count), int(size)


def load_files(connection: Connection, after: str, most: int) -> list[StoredFile]:
    """At most `most` files whose ids come after one, in their order; "" for the first page."""
    return [StoredFile(*row) for row in connection.execute(_PAGE, {"after": after, "most": most})]
