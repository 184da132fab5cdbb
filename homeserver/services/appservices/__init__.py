"""Application services: bridges and bots that act for many users and are sent the events that concern them.

Each service has a follower of the log of its own, so that one that is down holds up nobody else.
"""
