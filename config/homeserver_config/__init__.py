"""Typed settings: one frozen model per section of homeserver.yaml, read with every mistake reported at once.
The models' descriptions are the documentation; the example file and the manual are rendered from them.
"""

from homeserver_config.reader import ConfigError, plugin_settings, read_settings
from homeserver_config.settings import Settings
from homeserver_config.values import ByteSize, Duration, Glob, Secret
from homeserver_config.yaml_document import Mistake

__all__ = [
    "ByteSize",
    "ConfigError",
    "Duration",
    "Glob",
    "Mistake",
    "Secret",
    "Settings",
    "plugin_settings",
    "read_settings",
]
