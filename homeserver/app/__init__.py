"""The composition root: the only package that knows every part.

`homeserver.py` builds the parts top to bottom and stops them in reverse; `create_app` is for any ASGI server.
"""

from homeserver.app.asgi import create_app
from homeserver.app.homeserver import Homeserver

__all__ = ["Homeserver", "create_app"]
