"""Federation: exchanges rooms with other Matrix servers, behind the ports that the core owns.

Everything here is built by the composition root; nothing in the core imports it.
"""
