"""The log and everything else that must survive a restart: tables, and functions that read and write them.

Readers take a `Connection`, writers a `Transaction`; `Database` runs both. SQLite and PostgreSQL share this code.
"""
