"""Push notifications straight to browsers and phones: Web Push with VAPID, and UnifiedPush.
Encryption, the server's key and the transports stand in modules of their own.
"""

from homeserver_plugins.web_push.plugin import Plugin

__all__ = ["Plugin"]
