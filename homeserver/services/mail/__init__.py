"""E-mail: what messages say, the queue they wait in, and the worker that hands them to the mail server.

A message is written to the database before anybody is told that it will be sent.
"""
