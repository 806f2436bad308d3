"""The HTTP API under /api/v1: for agents, by a grant for one session, and for programs, by a token.

Views run in Django's threads and write there; the running gateway notices the commit
within half a second. Nothing here calls its event loop.
"""
