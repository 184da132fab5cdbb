"""Third-party identifiers: e-mail addresses and telephone numbers, how they are confirmed and what they are good for.

Whoever proves to own one may open an account with it, log in by it and reset a password.
"""
