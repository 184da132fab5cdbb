"""Events that clients schedule and the server sends later.

Spec: MSC4140
"""
