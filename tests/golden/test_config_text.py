"""What people read: all faults of one bad file, an explanation, effective values, the sample."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from strongroom.config import ConfigFaultsError, load_settings, parse_settings
from strongroom.config.description import describe, explain, schema_json
from strongroom.config.sample import sample_text, show
from strongroom.errors import ConfigError

BAD = """\
version: 2
aplication: x
environment: prod
sources:
  Database: {kind: postgress, url: "postgresql://u:hunter2@h/db"}
  db: {kind: postgres, url: "postgresql://u:hunter2@h/db", jobs: many, lock_timeout: 5 minutes}
  files: {kind: files, url: x, exclude: "*.tmp", required: [lpos, /etc, ../x]}
  nokind: {path: /a}
  git: {kind: git, path: /srv, path: /srv2}
repositories:
  local: {location: /srv/x, password: hunter2}
  two: {location: /srv/x/, password: "env:a b"}
  s3: {location: "s3:https://", password: "file:rel"}
retention:
  loca: {daily: 30d}
  local: {dayly: 30d}
  db: sometimes
objectives: {copies: 0, rpo: 1x}
schedule: {capture: "0 25 * * *", time_zone: Asia/Dubay}
queries: [{source: databse, name: x, sql: SELECT 5, expect: 5}]
alerts: {to: x}
"""

FAULTS = """\
FILE: 31 faults
  line 1, application: this setting is required
  line 1, version: this must be `1`
  line 2, aplication: there is no such setting; did you mean `application`?
  line 3, environment: this must be `production` or `development`
  line 5, sources.Database: `kind` must be `postgres`, `files` or `git`; did you mean `postgres`?
  line 5, sources.Database: a name has small letters, digits, - and _, 63 at most
  line 6, sources.db.jobs: a whole number is wanted here
  line 6, sources.db.lock_timeout: a duration is a whole number with s, m, h or d, such as 30s, \
24h or 7d
  line 6, sources.db.url: this URL holds a password; keep it in a file or variable and write \
env:NAME or file:PATH
  line 7, sources.files.exclude: a list is wanted here
  line 7, sources.files.path: this setting is required
  line 7, sources.files.required[1]: this is a path inside of the source: relative to it, and \
without ..
  line 7, sources.files.required[2]: this is a path inside of the source: relative to it, and \
without ..
  line 7, sources.files.url: there is no such setting
  line 8, sources.nokind: `kind` is required: postgres, files or git
  line 9, sources.git.path: this stands here twice, first on line 9
  line 11, repositories.local.location: this is inside of source git, which would hold itself
  line 11, repositories.local.password: a secret is never written here; say where it is kept: \
env:NAME, file:PATH, command:PROGRAM or keyring:SERVICE/USER
  line 12, repositories.two.location: repository local is at the same place: one copy, not two
  line 12, repositories.two.location: this is inside of source git, which would hold itself
  line 12, repositories.two.password: `env:` is followed by the name of an environment variable
  line 13, repositories.s3.location: `s3:` is followed by the URL of the store
  line 15, retention.loca: there is no repository or source of this name; did you mean `local`?
  line 16, retention.local.dayly: there is no such setting; did you mean `daily`?
  line 17, retention.db: a policy is the word forever, or rules such as {daily: 30d}
  line 18, objectives.copies: this must be at least 1
  line 18, objectives.rpo: a duration is a whole number with s, m, h or d, such as 30s, 24h or 7d
  line 19, schedule.capture: this schedule has a bad hour
  line 19, schedule.time_zone: there is no time zone of this name; write it like Asia/Dubai or UTC
  line 20, queries[0].source: there is no source of this name; did you mean `Database`?
  line 21, alerts: a list is wanted here"""

EXPLANATION = """\
sources.NAME.jobs (kind: postgres)
  How many tables are copied at the same time; one connection each.
  Type:     whole number, 1 to 32
  Default:  2"""

SHOWN = """\
version: 1
application: tms
environment: production
sources:
  db:
    kind: postgres
    url: env:URL
    jobs: 2
    exclude_tables: []
    lock_timeout: 30s
    elsewhere: []
repositories:
  local:
    location: /backup
    password: command:pass …
    access: {}
engine:
  workers: 1
  memory: 128MiB
  pack_size: 16MiB
  compression: default
retention:
  db: forever
objectives:
  rpo: 24h
  rto: 4h
  proof_age: 7d
  copies: 2
schedule:
  capture: 0 2 * * *
  prune: 30 4 * * *
  check: 0 5 * * *
  check_amount: 10%
  drill: 0 6 * * 0
  application_drill: 0 7 1 * *
  kit_drill: 30 7 2 1,4,7,10 *
  verify_daily: 0 8 * * *
  verify_weekly: 10 8 * * 1
  verify_monthly: 20 8 1 * *
  time_zone: UTC
  jitter: 0s
alerts: []
monitoring:
  mail_server: localhost:25
  space: 10%
contacts: []
review:
  every: 90d
queries: []
probes: []
references: []
restore:
  reason: optional
runbook:
  procedures: []
  before: []
  after: []
state: /var/lib/x
"""


def test_all_faults_are_told_at_once_and_no_secret_is_repeated(tmp_path: Path) -> None:
    file = tmp_path / "strongroom.yaml"
    file.write_text(BAD)
    with pytest.raises(ConfigFaultsError) as caught:
        load_settings(file)
    assert str(caught.value).replace(str(file), "FILE") == FAULTS
    assert "hunter2" not in str(caught.value)
    assert caught.value.code == "config-invalid"


def test_an_explanation() -> None:
    assert explain("sources.database.jobs") == EXPLANATION
    with pytest.raises(ConfigError) as caught:
        explain("sources.database.jbs")
    assert caught.value.hint == "Ask for `sources.NAME.jobs`."


def test_every_setting_can_be_explained() -> None:
    for setting in describe():
        text = explain(setting.path)
        assert setting.meaning in text
        assert setting.meaning.endswith("."), setting.path


def test_effective_values_show_references_and_no_command() -> None:
    settings = parse_settings("""
version: 1
application: tms
sources: {db: {kind: postgres, url: env:URL}}
repositories: {local: {location: /backup, password: "command:pass show s3cret"}}
engine: {workers: 1}
retention: {db: forever}
state: /var/lib/x
""")
    assert show(settings) == SHOWN


def _switched_on(text: str) -> str:
    """The sample with every `#setting:` line switched on; prose keeps its `# `."""
    for _ in range(3):  # a switched-off section holds switched-off sections of such settings
        text = re.sub(r"(?m)^(\s*)#(?! \S)", r"\1", text)
    return text


def test_the_sample_is_valid_as_it_is_and_with_everything_switched_on() -> None:
    sample = sample_text()
    assert parse_settings(sample).application == "training-management-system"
    everything = parse_settings(_switched_on(sample))
    unset = {
        name for name in type(everything).model_fields if name not in everything.model_fields_set
    }
    assert unset == set()
    assert everything.queries
    assert everything.application_check


def test_the_sample_names_every_setting() -> None:
    sample = _switched_on(sample_text())
    in_lists = {"name", "email"}  # of a probe and a contact: optional, and shown elsewhere
    for setting in describe():
        if setting.parts[0] == "retention" or setting.parts[-1] in in_lists:
            continue
        assert re.search(rf"\b{setting.parts[-1]}:", sample), setting.path


def test_the_schema_knows_every_top_level_setting_and_refuses_others() -> None:
    schema = json.loads(schema_json())
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == {
        setting.path for setting in describe() if len(setting.parts) == 1
    }
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["version", "application", "sources", "repositories"]
    policy = schema["properties"]["retention"]["patternProperties"]
    assert "forever" in json.dumps(schema["$defs"]["Policy"]) or "forever" in json.dumps(policy)
