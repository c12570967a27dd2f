"""PostgreSQL: client programs, throw-away clusters, capture, load and proof of a database.

Knows nothing of repositories: streams leave and arrive through the protocols of `exchange`.
"""
