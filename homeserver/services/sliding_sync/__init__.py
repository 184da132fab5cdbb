"""Sliding sync: the rooms a client looks at, and what has changed in them since they were last told on a connection.

`connections.py` remembers what was told, `lists.py` which rooms a client looks at, `rooms.py` tells of a room,
`extensions.py` of everything else, `sliding_sync.py` puts an answer together or waits.
"""
