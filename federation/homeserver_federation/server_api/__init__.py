"""The server-server API over HTTP: one module for each file of the specification's OpenAPI, same name.

Handlers translate: they read the request, make one call, and render the outcome.
"""
