"""Benchmarks: CPU milliseconds of the server for each operation, rates, latencies and memory.

Run one with `python -m benchmarks.chat` from the tests folder; nothing here is a timed assertion.
"""
