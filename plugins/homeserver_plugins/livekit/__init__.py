"""Group calls over LiveKit: the token service of MatrixRTC, inside the homeserver.
`tokens.py` makes what LiveKit reads, `service.py` answers clients, `plugin.py` announces the service.
"""

from homeserver_plugins.livekit.plugin import Plugin

__all__ = ["Plugin"]
