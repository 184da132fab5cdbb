"""The HTTP kit: a trie router on the raw path, endpoints as metadata, one runner, one error renderer.
It knows how to speak HTTP and nothing of what the server does.
"""
