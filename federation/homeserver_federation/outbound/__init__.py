"""Sending to other servers: a follower of the log, a queue for each destination, and what is not in the log.

Spec: server-server-api #transactions
"""
