"""Starling: a pluggable, federated chat homeserver that speaks the open Matrix protocol.

Start reading at docs/architecture.md, or at homeserver/app.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("starling-homeserver")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.1.0"
