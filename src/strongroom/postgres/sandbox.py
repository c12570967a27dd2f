"""A throw-away server that fits one captured database, and the reference database in it.

A drill restores into a cluster of the source's major version whose bootstrap role is called as the
source's is, so that ownership and grants come back alike, and whose tablespaces are called so,
too, wherever they were. The *reference* is the captured schema,
loaded without rows on the same server: PostgreSQL prints some expressions otherwise once they went
through a dump, and what differs from the source but not from the reference is only that.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from strongroom.postgres.cluster import Cluster, ClusterOptions, throwaway_cluster
from strongroom.postgres.exchange import CapturedFiles
from strongroom.postgres.inventory import Inventory, take_inventory
from strongroom.postgres.load import LoadOptions, load_schema_only, read_manifest

__all__ = ["reference_in", "sandbox_for"]

_REFERENCE: Final = "strongroom_reference_"


@contextlib.contextmanager
def sandbox_for(
    files: CapturedFiles, options: ClusterOptions | None = None, *, major: int | None = None
) -> Iterator[Cluster]:
    """A running cluster for a captured database; its findings tell in what it does not fit.

    Of the source's major version, unless another one is wanted.

    Raises `SourceError`: `client-programs` or `sandbox-failed`.
    """
    manifest = read_manifest(files)
    options, role = options or ClusterOptions(), manifest.database.bootstrap_role
    # Whoever wrote the schema may have been nobody to trust: see `postgres.dump_load`.
    options = replace(options, in_cell=None)
    if not role.startswith("pg_"):  # initdb keeps such names for PostgreSQL's own roles
        options = replace(options, superuser=role)
    major = major or manifest.versions.server_major
    with throwaway_cluster(major=major, options=options) as cluster:
        for one in manifest.coverage:
            if one.kind == "tablespace":
                cluster.add_tablespace(one.subject)
        yield cluster


def reference_in(
    cluster: Cluster, files: CapturedFiles, options: LoadOptions | None = None
) -> Callable[[], Inventory]:
    """What gives the reference inventory, made in `cluster` when it is first asked for."""

    def take() -> Inventory:
        target = cluster.connection(_REFERENCE + secrets.token_hex(4))
        load_schema_only(files, target, options or LoadOptions(own_server=True))
        with target.connect() as session:
            return take_inventory(session)

    return take
