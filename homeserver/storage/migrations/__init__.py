"""Schema migrations, run by `homeserver.storage.schema` at start, one file per step.

Every step keeps the data; none is ever edited after it was released.
"""
