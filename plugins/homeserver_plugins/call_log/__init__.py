"""The call log: who called whom, when, for how long, and what was missed or declined.
`calls.py` is what is known of a call, `recorder.py` reads it off events, `log.py` keeps it, `plugin.py` shows it.
"""

from homeserver_plugins.call_log.plugin import Plugin

__all__ = ["Plugin"]
