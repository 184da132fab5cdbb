"""The steps, in order of their revision numbers.

The first one creates everything; each later one says what it changes and why.
"""
