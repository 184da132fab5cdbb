"""Makes an account straight in the database, for the command line.

Works beside a running server: the account is there as soon as it is committed.
"""

from __future__ import annotations

from homeserver.app.homeserver import Homeserver
from homeserver_config.settings import Settings


async def create_account(settings: Settings, name: str, password: str, *, admin: bool) -> str:
    """Returns the new user id. Raises MatrixError when the name is taken or not allowed."""
    server = Homeserver(settings)
    await server.database.open()
    try:
        server.accounts.passwords.check_policy(password)
        user = await server.accounts.accounts.create(name, password=password, admin=admin)
        return user.user_id
    finally:
        await server.database.close()
        server.accounts.passwords.close()
