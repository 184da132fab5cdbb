"""Alembic's entry point: the environment was configured by `homeserver.storage.schema` already.

Nothing is read from an ini file.
"""
