"""The sections of homeserver.yaml, one frozen model per file.
A field's description is what the example file and the manual say about it.
"""
