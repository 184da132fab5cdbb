"""The content repository: uploads, downloads, thumbnails and previews of web pages.

Spec: client-server-api #content-repository
"""
