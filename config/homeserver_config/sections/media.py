"""The section `media`: uploads, downloads and previews.
Where the bytes are kept is up to the storage plugin.
"""

from pydantic import Field

from homeserver_config.values import ByteSize, Duration, Section


class MediaSettings(Section):
    """Uploads, downloads and previews."""

    store: str | None = Field(
        default=None, description="The plugin that keeps the bytes, where several of those listed could."
    )
    max_upload_size: ByteSize = Field(default=ByteSize.parse("50M"), description="The largest upload accepted.")
    max_download_size: ByteSize = Field(
        default=ByteSize.parse("100M"), description="The largest file fetched from another server."
    )
    max_image_pixels: int = Field(
        default=100_000_000, ge=1, description="Images with more pixels (times frames) get no thumbnail."
    )
    unauthenticated_downloads: bool = Field(
        default=False,
        description="Whether media uploaded from now on can be downloaded without a login, as in old clients.",
    )
    unused_upload_lifetime: Duration = Field(
        default=Duration.parse("1d"), description="How long a media id made in advance waits for its upload."
    )
    remote_lifetime: Duration | None = Field(
        default=None, description="How long copies of other servers' media are kept unused; without it, for ever."
    )
    url_previews: bool = Field(
        default=False, description="Whether this server fetches web pages to preview their links."
    )
    url_preview_lifetime: Duration = Field(default=Duration.parse("1h"), description="How long a preview is kept.")
    url_preview_max_size: ByteSize = Field(
        default=ByteSize.parse("10M"), description="The largest page or image fetched."
    )
