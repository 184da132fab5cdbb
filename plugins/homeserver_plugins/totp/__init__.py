"""A second factor: codes of an authenticator app beside the password, and recovery codes.
`codes.py` computes, `factors.py` keeps and checks, `sign_in.py` asks beside every password, `plugin.py` is the API.
"""

from homeserver_plugins.totp.plugin import Plugin

__all__ = ["Plugin"]
