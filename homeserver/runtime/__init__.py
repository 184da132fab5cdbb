"""What the server runs on: clock, randomness, supervised tasks, outgoing HTTP, logs, metrics.
Each can be replaced by a tame one in tests.
"""
