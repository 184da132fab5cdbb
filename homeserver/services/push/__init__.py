"""Who is to be notified of what: outcomes of push rules, unread counts, pushers.

Nothing here is done for each member when a message arrives.
"""
