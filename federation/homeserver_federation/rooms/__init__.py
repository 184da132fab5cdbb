"""Rooms across servers: joining, leaving, knocking and inviting from both sides, history, state, what others may read.

Spec: server-server-api #joining-rooms
"""
