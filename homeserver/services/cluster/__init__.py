"""Several processes on one database: they hear of each other's commits, and share out what one must do for all.

The database alone makes it correct; the bus between them makes it fast.
"""
