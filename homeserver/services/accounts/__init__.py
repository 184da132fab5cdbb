"""Accounts and sessions: who may use this server, how they prove it, and what they hold afterwards.

Login methods and auth stages are plugged in; password, dummy and tokens are merely the ones that come along.
"""
