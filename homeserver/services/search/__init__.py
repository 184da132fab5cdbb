"""Search in messages, names and topics: a follower keeps the index, one use case reads it.

Nothing of it runs in the path of sending.
"""
