"""Keeps clients up to date: what has happened since a token, and waiting for more.

`hub.py` knows who is concerned by what, `sync.py` answers, `joined_room.py` and `other_rooms.py` build the parts.
"""
