"""Services that are wrong on purpose, each in one thing: a drill that such a build survives proves nothing.

Run as `python -m tests.drills.broken.<service> <Build>` in the service's place.
"""
