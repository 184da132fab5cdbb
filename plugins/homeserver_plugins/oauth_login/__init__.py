"""Single sign-on with OpenID Connect providers, Google, GitHub and anything that speaks the same.
`settings.py` says what can be configured, `provider.py` speaks to a provider, `sign_in.py` leads a browser through it.
"""

from homeserver_plugins.oauth_login.plugin import Plugin

__all__ = ["Plugin"]
