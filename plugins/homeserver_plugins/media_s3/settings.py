"""The settings of `media_s3`: which bucket, how to reach it, and whether clients may fetch from it themselves.
Credentials may stay away: then AWS's own chain finds them (environment, instance role, web identity)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from homeserver.plugin_api import BaseUrl, ByteSize, Duration, Secret, Section

_SMALLEST_PART = 5 * 1024 * 1024
_LARGEST_PART = 1024 * 1024 * 1024
_LONGEST_LINK_MS = 7 * 86_400_000


class S3Settings(Section):
    """Media in object storage."""

    bucket: str = Field(min_length=3, max_length=63, description="The bucket. It must exist, and be private.")
    prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_./-]{0,200}$",
        description="What every key begins with, for a bucket that holds other things too: `media/`.",
    )
    endpoint: BaseUrl | None = Field(
        default=None, description="The store's URL where it is not Amazon's: https://minio.example.org:9000."
    )
    region: str | None = Field(default=None, description="The region, e.g. eu-central-1.")
    path_style: bool = Field(
        default=False, description="Whether the bucket stands in the path of URLs, not in the host name (MinIO, Ceph)."
    )
    access_key_id: str | None = Field(default=None, description="The key's id; without it AWS's own chain is asked.")
    secret_access_key: Secret | None = Field(default=None, description="The secret that goes with it.")
    encryption: Literal["none", "AES256", "aws:kms"] = Field(
        default="none", description="How the store encrypts at rest: not told, with its own key, or with one of KMS."
    )
    kms_key_id: str | None = Field(default=None, description="The key of KMS; without it the account's default key.")
    part_size: ByteSize = Field(
        default=ByteSize.parse("8M"),
        description="Larger files are sent in parts of this size; an upload under way takes this much memory.",
    )
    connections: int = Field(default=100, ge=1, le=10_000, description="How many connections to the store at most.")
    redirect: bool = Field(
        default=False,
        description="Whether clients that allow it are sent to the bucket with a signed URL, instead of through here.",
    )
    redirect_lifetime: Duration = Field(default=Duration.parse("5m"), description="How long a signed URL works.")
    cdn_base_url: BaseUrl | None = Field(
        default=None,
        description="A CDN in front of the bucket: redirects lead there, unsigned, in place of the bucket.",
    )

    @field_validator("part_size")
    @classmethod
    def _is_a_part(cls, size: ByteSize) -> ByteSize:
        if not _SMALLEST_PART <= size <= _LARGEST_PART:
            raise ValueError("S3 takes parts of 5M to 1G here")
        return size

    @field_validator("redirect_lifetime")
    @classmethod
    def _is_short(cls, lifetime: Duration) -> Duration:
        if not 1_000 <= lifetime <= _LONGEST_LINK_MS:
            raise ValueError("S3 signs URLs for 1s to 7d")
        return lifetime

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together")
        if self.kms_key_id is not None and self.encryption != "aws:kms":
            raise ValueError("kms_key_id needs `encryption: aws:kms`")
        if self.cdn_base_url is not None and not self.redirect:
            raise ValueError("cdn_base_url needs `redirect: true`")
        return self
