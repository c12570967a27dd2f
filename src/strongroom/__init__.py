"""Strongroom keeps a web application recoverable, and proves it.

The packages, from the top: `cli` (a face), `demo` (the reference application), `service` (the
wiring), `recovery` (restore, prove, drill), `sources` (what is protected), `repository` (the
restic format) and `postgres` (how a database is copied), `config`, `model`, `errors`. Lower
packages never import higher ones; docs/ARCHITECTURE.md says why.
"""

__version__ = "0.1.0"
