"""What is known of media: one row for each file kept, thumbnails made of it, and previews of web pages.

The bytes themselves are in the media store, under `store_id`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from homeserver.storage.tables.metadata import metadata

media = Table(
    "media",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("media_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # "upload", "remote" (a copy) or "preview" (a picture of a web page)
    Column("user_id", Text),  # who uploaded it
    Column("content_type", Text, nullable=False),
    Column("filename", Text),
    Column("size", BigInteger),  # NULL, like the next columns, until the bytes are here
    Column("sha256", LargeBinary),
    Column("store_id", Text),
    Column("width", Integer),  # of pictures whose header can be read
    Column("height", Integer),
    Column("animated", Boolean, nullable=False),
    Column("public", Boolean, nullable=False),  # may be downloaded without a login
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),  # of ids made in advance, until the upload
    Column("last_access_ms", BigInteger, nullable=False),
    Column("quarantined_by", Text),
)
Index("ix_media_user_id_created_ms", media.c.user_id, media.c.created_ms)
Index("ix_media_expires_ms", media.c.expires_ms)
Index("ix_media_kind_last_access_ms", media.c.kind, media.c.last_access_ms)
Index("ix_media_sha256", media.c.sha256)

media_thumbnails = Table(
    "media_thumbnails",
    metadata,
    Column("server_name", Text, primary_key=True),
    Column("media_id", Text, primary_key=True),
    Column("width", Integer, primary_key=True),  # the size that was asked for, not what came of it
    Column("height", Integer, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("animated", Boolean, primary_key=True),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("store_id", Text, nullable=False),
)

url_previews = Table(
    "url_previews",
    metadata,
    Column("url_sha256", LargeBinary, primary_key=True),
    Column("body", LargeBinary, nullable=False),  # a JSON object
    Column("fetched_ms", BigInteger, nullable=False),
)
Index("ix_url_previews_fetched_ms", url_previews.c.fetched_ms)
