"""How hooks are marked: `hookspec` where they are specified, `hookimpl` where a plugin implements them.
Both carry the project's name, so that plugins of other pluggy projects are never mistaken for ours.
"""

import pluggy

PROJECT = "homeserver"
ENTRY_POINTS = "homeserver.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
