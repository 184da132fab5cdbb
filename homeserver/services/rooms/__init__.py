"""What the server does with rooms: create, join, send, read, find.

One file per use case; `room.py` holds a room in memory, `append_event.py` is the way into the log.
"""
