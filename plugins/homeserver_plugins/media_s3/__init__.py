"""The plugin `media_s3`: keeps media in a bucket of Amazon S3 or of any store that speaks its protocol.
aioboto3 is an extra of its own; without it the error says how to install it."""

try:
    from homeserver_plugins.media_s3.plugin import Plugin
except ModuleNotFoundError as error:
    if error.name not in ("aioboto3", "aiobotocore", "botocore"):
        raise
    raise ImportError("it needs a package: pip install 'starling-homeserver[s3]'") from error

__all__ = ["Plugin"]
