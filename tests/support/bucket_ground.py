"""Buckets that keep versions and locks, who may do what in them, and somebody who wrecks one."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import httpx

from strongroom.repository.storage import Access
from strongroom.repository.storage.s3 import S3Storage
from tests.support.store_servers import S3Server, moto_s3

PREFIX = "deep/prefix/"

_OPERATIONS = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
_PLACE = ("tms-backup/production", f"*/{PREFIX.rstrip('/')}")


def _documented_rights() -> Iterator[tuple[tuple[str, str], ...]]:
    """What the manual gives to whoever backs up, then what it adds for whoever prunes: pairs of
    an action and of where it is permitted, in any bucket."""
    text = _OPERATIONS.read_text(encoding="utf-8")
    for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        yield tuple(
            (action, where.replace(*_PLACE).replace("tms-backup", "*"))
            for statement in json.loads(block)["Statement"]
            for action in statement["Action"]
            for where in [statement["Resource"].removeprefix("arn:aws:s3:::")]
        )


_BACKUP, _PRUNE = _documented_rights()
# moto's own name for a right that Amazon calls s3:ListBucket.
BACKUP_RIGHTS = (*_BACKUP, ("s3:HeadBucket", "*"))
PRUNE_RIGHTS = (*BACKUP_RIGHTS, *_PRUNE)
ALL_RIGHTS = (("s3:*", "*"),)


# Any: boto3 makes its classes at run time
def client_of(server: S3Server, service: str = "s3", access: Access | None = None) -> Any:
    """A client that speaks to the server by itself, past all that is to be tested."""
    login = access or server.access
    return boto3.client(
        service,
        endpoint_url=server.url,
        aws_access_key_id=login.access_key,
        aws_secret_access_key=login.secret_key,
        region_name="us-east-1",
    )


@dataclass(frozen=True)
class Bucket:
    """One bucket of a server, and what stands in it."""

    server: S3Server
    name: str

    @property
    def client(self) -> Any:  # Any: see above
        return client_of(self.server)

    @property
    def location(self) -> str:
        return f"s3:{self.server.url}/{self.name}/{PREFIX.rstrip('/')}"

    def storage(self, **options: Any) -> S3Storage:  # Any: see S3Storage
        return S3Storage(self.location, self.server.access, **options)

    def head(self, name: str) -> dict[str, Any]:
        """What the store tells of an object that is there."""
        found: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=PREFIX + name)
        return found

    def names(self) -> list[str]:
        """The names of all objects that can be seen."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        listed = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return sorted(one.removeprefix(PREFIX) for one in listed)

    def versions(self, kind: str = "Versions") -> list[dict[str, Any]]:
        """All versions, or with `DeleteMarkers` all markers."""
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.name)
        return [one for page in pages for one in page.get(kind, ())]

    def keep_versions(self) -> None:
        self.client.put_bucket_versioning(
            Bucket=self.name, VersioningConfiguration={"Status": "Enabled"}
        )

    def lock_by_default(self, days: int, mode: str = "COMPLIANCE") -> None:
        rule = {"DefaultRetention": {"Mode": mode, "Days": days}}
        self.client.put_object_lock_configuration(
            Bucket=self.name,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )

    def wreck(self) -> None:
        """Remove everything; put garbage in the place of the first half."""
        names = self.names()
        for place, name in enumerate(names):
            self.client.delete_object(Bucket=self.name, Key=PREFIX + name)
            if place < len(names) / 2:
                self.client.put_object(Bucket=self.name, Key=PREFIX + name, Body=b"ransom")

    def erase(self) -> tuple[int, int]:
        """Erase every version that can be erased: how many could, and how many couldn't."""
        erased = kept = 0
        for one in [*self.versions(), *self.versions("DeleteMarkers")]:
            try:
                self.client.delete_object(
                    Bucket=self.name, Key=one["Key"], VersionId=one["VersionId"]
                )
                erased += 1
            except self.client.exceptions.ClientError:
                kept += 1
        return erased, kept


def new_bucket(server: S3Server, *, versions: bool = False, lock: bool = False) -> Bucket:
    """An empty bucket."""
    made = Bucket(server, "bucket-" + secrets.token_hex(6))
    made.client.create_bucket(Bucket=made.name, ObjectLockEnabledForBucket=lock)
    if versions and not lock:
        made.keep_versions()
    return made


@contextlib.contextmanager
def moto_with_users(
    directory: Path, **users: Sequence[tuple[str, str]]
) -> Iterator[dict[str, S3Server]]:
    """A server that checks who asks: by the name of each user, the server as that user sees it.

    A user's rights are pairs of an action and of where it is permitted.
    """
    with moto_s3(directory) as server:
        iam = client_of(server, "iam")
        seen: dict[str, S3Server] = {}
        for user, rights in users.items():
            iam.create_user(UserName=user)
            statements = [
                {"Effect": "Allow", "Action": action, "Resource": f"arn:aws:s3:::{where}"}
                for action, where in rights
            ]
            policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=policy)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            access = Access(
                access_key=key["AccessKeyId"],
                secret_key=key["SecretAccessKey"],
                region="us-east-1",
            )
            seen[user] = replace(server, access=access)
        httpx.post(f"{server.url}/moto-api/reset-auth", content=b"0").raise_for_status()
        yield seen
