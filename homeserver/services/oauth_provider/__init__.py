"""The server as OAuth 2.0 provider: clients register, people grant them access in a browser, tokens are handed out.

The tokens are those of any session; what is here is the way to them, and the pages where people manage their account.
"""
