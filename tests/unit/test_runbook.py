"""What a runbook says, and what it doesn't: from settings and evidence as values."""

from __future__ import annotations

import io
import json
import re

import pytest

from strongroom.config.placeholder import names_in
from strongroom.model import Verdict
from strongroom.report.markdown_html import markdown_page
from strongroom.report.markdown_pdf import foreign_in, markdown_pdf
from strongroom.report.runbook import runbook_markdown
from strongroom.report.runbook_ground import Procedure
from strongroom.service.evidence_report import report_fonts
from tests.support.evidence_ground import ago, proof, tree_of
from tests.support.runbook_ground import (
    SMALL,
    blocks_of,
    demo_settings,
    drilled,
    evidence_of,
    ground,
    point_of,
    proven_ground,
    settings_of,
)

# Of the procedures, in their order.
HEADINGS = [
    "OVERVIEW",
    "BACKUP SCOPE",
    "AUTOMATED BACKUP SETUP",
    "BACKUP VERIFICATION CHECKLIST",
    "RESTORE PROCEDURES",
    "DISASTER RECOVERY SCENARIO",
    "BACKUP MONITORING",
    "BACKUP RETENTION POLICY",
    "NOTES",
    "CONTACTS",
]
HOSTILE = "Eve | *b* <script>alert(1)</script> [x](javascript:1) `c` # _y_ \x1b[31m"
RECOVERY = """\
recovery:
  checkout: production
  folders: {code: app}
  ownership: {uploads: {owner: www-data, group: www-data, folder_mode: "755", file_mode: "644"}}
  database_role: tms_app
  database_password: env:TMS_APP_PASSWORD
  secrets: {key: "command:vault read -field=key secret/tms"}
  environment: {APP_TOKEN: hunter2-literal, UPLOADS: "{uploads}", KEY: env:APP_KEY}
  render: {.env: "DATABASE_URL={database.url}\\nKEY={secret.key}", own.ini: "file:/etc/own.tpl"}
  links: {public/uploads: uploads}
  prepare: ["php artisan migrate:status"]
  serve: php -S 127.0.0.1:{port} -t public
  smoke: [[sh, -c, "test -d {uploads}"]]
  url: http://127.0.0.1:8080
  http: [{path: /api/health.php}, {path: /gone, status: 410}]
  logs: {server: [/var/log/nginx/error.log], files: ["storage/*.log"]}
  watch: 5m
  by_hand: ["Point *training* at the new address."]
"""


def rendered(text: str = SMALL) -> str:
    return runbook_markdown(proven_ground(settings_of(text)))


def chapter(markdown: str, title: str) -> str:
    found = re.search(
        rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", markdown, re.MULTILINE | re.DOTALL
    )
    assert found, title
    return found[1]


def test_its_headings_are_those_of_the_procedures_in_their_order() -> None:
    assert re.findall(r"^## (.+)$", rendered(), re.MULTILINE) == HEADINGS


def test_the_same_evidence_gives_the_same_bytes() -> None:
    first, second = rendered(SMALL + RECOVERY), rendered(SMALL + RECOVERY)
    assert first == second
    assert markdown_page(first, "t") == markdown_page(second, "t")
    assert markdown_pdf(first, "t", "foot") == markdown_pdf(second, "t", "foot")


def test_without_evidence_it_says_so_and_guesses_nothing() -> None:
    settings = settings_of(SMALL)
    markdown = runbook_markdown(ground(settings, evidence_of(settings, captured=False, records=0)))
    assert "**There is no evidence yet:**" in markdown
    assert "**None is known:** no capture is recorded" in markdown
    assert "How long a recovery takes is **not known**" in markdown
    assert "**Last Verified:** never as a whole" in markdown
    assert "**Next Review:** not known" in markdown
    assert "No recovery point is known to hold everything" in markdown
    assert 'export POINT="${POINT-}"' in markdown
    assert not re.search(r"\bPROVEN\b(?!:| means)", markdown)


def test_what_was_captured_and_never_proven_is_unknown() -> None:
    settings = settings_of(SMALL)
    markdown = runbook_markdown(ground(settings, points=[point_of(settings)]))
    assert "`uploads` UNKNOWN" in markdown
    assert "the newest; none was proven yet" in markdown
    assert "**not measured**" in markdown


def test_a_proven_point_goes_before_a_newer_one_that_nobody_tried() -> None:
    settings = settings_of(SMALL)
    newer, older = point_of(settings, "bbb", hours=1), point_of(settings, "aaa", hours=3)
    unproven = tuple(
        type(one)(one.source, one.repository, "e" * 64, "f" * 64) for one in newer.copies
    )
    newer = type(newer)(newer.id, newer.captured_at, unproven)
    made = ground(settings, evidence_of(settings, *drilled(settings)), [newer, older])
    assert made.verdict(older) is Verdict.PROVEN
    assert made.verdict(newer) is Verdict.UNKNOWN
    assert made.chosen() == (older, "the newest that is proven")
    assert 'export POINT="${POINT-aaa}"' in runbook_markdown(made)


def test_a_point_that_failed_its_proof_is_the_last_to_be_taken() -> None:
    settings = settings_of(SMALL)
    newer, older = point_of(settings, "bbb", hours=1), point_of(settings, "aaa", hours=3)
    older = type(older)(
        older.id,
        older.captured_at,
        tuple(type(one)(one.source, one.repository, "e" * 64, "f" * 64) for one in older.copies),
    )
    failed = drilled(settings, verdict=Verdict.FAILED)
    made = ground(settings, evidence_of(settings, *failed), [newer, older])
    assert made.verdict(newer) is Verdict.FAILED
    chosen = made.chosen()
    assert chosen is not None
    assert chosen[0].id == "aaa"


def test_a_point_that_lacks_a_source_is_none_to_recover() -> None:
    settings = settings_of(SMALL)
    point = point_of(settings)
    part = type(point)(point.id, point.captured_at, point.copies[:1])
    made = ground(settings, points=[part])
    assert made.chosen() is None
    assert (
        "| incomplete | `database` UNKNOWN | **without `uploads`, `code`** |"
        in runbook_markdown(made)
    )


def test_old_proofs_are_stale_and_times_stay_measured() -> None:
    settings = settings_of(SMALL)
    seen = drilled(settings, at=ago(days=30))
    made = ground(settings, evidence_of(settings, *seen), [point_of(settings, days=30)])
    markdown = runbook_markdown(made)
    assert "`uploads` STALE" in markdown
    assert "drill from `local`, 2026-10-27 12:00:00 UTC" in markdown
    assert "expect 4.5 s at least and 13.6 s at most" in markdown
    assert "**Last Verified:** 2026-10-27 12:00:00 UTC" in markdown


def test_only_this_repositorys_bytes_are_proven_by_a_proof() -> None:
    settings = settings_of(SMALL)
    point = point_of(settings)
    seen = proof(2, "uploads", repository="offsite", tree=tree_of("uploads"))
    made = ground(settings, evidence_of(settings, seen), [point])
    told = {(c.source, c.repository): made.proof_of(c) for c in point.copies}
    assert told["uploads", "offsite"] is Verdict.PROVEN
    assert told["uploads", "local"] is Verdict.UNKNOWN
    assert made.verdict_of(point, "uploads") is Verdict.PROVEN
    assert made.verdict(point) is Verdict.UNKNOWN


@pytest.mark.parametrize("verdict", [Verdict.PROVEN, Verdict.FAILED])
def test_what_a_live_target_holds_says_nothing_of_a_copy(verdict: Verdict) -> None:
    settings = settings_of(SMALL)
    point = point_of(settings)
    looked = proof(9, "uploads", action="prove", verdict=verdict)
    made = ground(settings, evidence_of(settings, looked), [point])
    assert made.verdict_of(point, "uploads") is Verdict.UNKNOWN
    made = ground(settings, evidence_of(settings, *drilled(settings), looked), [point])
    assert made.verdict_of(point, "uploads") is Verdict.PROVEN


def test_what_was_not_read_from_a_store_proves_no_copy() -> None:
    settings = settings_of(SMALL)
    point = point_of(settings)
    seen = proof(9, "uploads", action="restore", reused_bytes=1)
    made = ground(settings, evidence_of(settings, seen), [point])
    assert made.verdict_of(point, "uploads") is Verdict.UNKNOWN


def test_no_secret_stands_in_it() -> None:
    text = (
        SMALL
        + RECOVERY
        + (
            "runbook:\n"
            "  before: ['PGPASSWORD=hunter2-typed psql -c \"SELECT 1\"', "
            "'curl https://amina:hunter2-url@example.com/']\n"
            "  after: ['PGPASSWORD=$TMS_APP_PASSWORD psql']\n"
        )
    )
    markdown = rendered(text)
    assert "hunter2" not in markdown
    assert "secret/tms" not in markdown
    assert "PGPASSWORD=$TMS_APP_PASSWORD psql" in markdown
    assert "`env:OFFSITE_PASSWORD`" in markdown
    assert "`file:/etc/strongroom/local.key`" in markdown


def test_names_with_special_characters_are_escaped_in_every_rendering() -> None:
    text = SMALL + (
        f"contacts: [{{role: {json.dumps(HOSTILE)}, name: نورة الكعبي, phone: '+971 | 1'}}]\n"
    )
    markdown = rendered(text)
    page = markdown_page(markdown, "t")
    assert "<script>" not in page
    assert "javascript:" not in re.findall(r'href="([^"]*)"', page)
    assert "\x1b" not in markdown
    assert "نورة الكعبي" in page
    assert "+971 | 1" in page
    words = re.sub(r"\s+", "", read_pdf(markdown))
    assert re.sub(r"\s+", "", HOSTILE.replace("\x1b", "\\x1b")) in words


def _ours(commands: str) -> str:
    """Commands without the braces that the shell and curl know."""
    return commands.replace("${", "").replace("%{http_code}", "")


def read_pdf(markdown: str) -> str:
    """The words of the file, as a reader extracts them."""
    from pypdf import PdfReader

    fonts = report_fonts() if foreign_in(markdown) else ()
    read = PdfReader(io.BytesIO(markdown_pdf(markdown, "t", "Strongroom, t", fonts)))
    return " ".join(page.extract_text() for page in read.pages).replace("\n", " ")


def test_the_page_and_the_file_say_the_same() -> None:
    markdown = rendered(SMALL + RECOVERY + "review: {last: 2026-11-01}\n")
    page, words = markdown_page(markdown, "TMS"), read_pdf(markdown)
    for title in HEADINGS:
        assert f">{title}</h2>" in page
        assert title in words
    for told in ("Route 2: Stock restic and psql", "Next Review: 2027-01-30", "Last Verified:"):
        assert told in words
        assert told in re.sub(r"<[^>]+>", "", page)
    assert "page 1 of" in words
    commands = {line for one in blocks_of(markdown) for line in one.commands.splitlines()}
    shown = re.sub(r"\s+", "", words)
    missing = [one for one in commands if len(one) < 90 and re.sub(r"\s+", "", one) not in shown]
    assert not missing
    assert "☐ The backup was created" in page
    assert "[ ]" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)


def test_links_within_it_lead_somewhere() -> None:
    markdown = rendered(SMALL + "runbook: {provider: supabase}\n")
    page = markdown_page(markdown, "t")
    names = set(re.findall(r'id="([^"]+)"', page))
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert len(targets) >= 5
    assert targets <= names


def test_supabase_has_its_own_restore_and_others_a_general_one() -> None:
    told = chapter(rendered(SMALL + "runbook: {provider: supabase}\n"), HEADINGS[5])
    assert "Supabase Dashboard → Database → Backups" in told
    assert "files of Storage" in told
    url = SMALL.replace(
        "env:DATABASE_URL", "postgresql://postgres@db.abc.supabase.co:5432/postgres"
    )
    assert "### Database Restore (Supabase)" in rendered(url)
    assert "Supabase" not in rendered(url + "runbook: {provider: other}\n")
    assert "never over the old one" in chapter(rendered(), HEADINGS[5])


def test_a_provider_is_no_command() -> None:
    markdown = rendered(SMALL + "runbook: {provider: supabase}\n")
    assert not [one for one in blocks_of(markdown) if "Provider" in one.heading]


def test_own_procedures_have_their_place_with_lower_headings() -> None:
    settings = settings_of(SMALL)
    own = [
        Procedure("/etc/dns.md", "# DNS\n\nCall **them**.\n\n## Records\n"),
        Procedure("/etc/gone.md", "", "it cannot be read: No such file or directory"),
    ]
    markdown = runbook_markdown(proven_ground(settings, procedures=own))
    told = chapter(markdown, "OWN PROCEDURES")
    assert "\n### DNS\n\nCall **them**.\n\n#### Records\n" in told
    assert "**`/etc/gone.md` is missing here:** it cannot be read" in told
    titles = re.findall(r"^## (.+)$", markdown, re.MULTILINE)
    assert titles == [*HEADINGS[:6], "OWN PROCEDURES", *HEADINGS[6:]]


def test_html_in_a_procedure_is_text() -> None:
    own = [Procedure("/etc/x.md", "<img src=x onerror=alert(1)>\n\n![i](https://example.com/x)\n")]
    page = markdown_page(runbook_markdown(proven_ground(settings_of(SMALL), procedures=own)), "t")
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_before_and_after_are_steps_of_the_worst_day() -> None:
    text = SMALL + "runbook: {before: [systemctl stop nginx], after: [systemctl start nginx]}\n"
    found = {one.commands: one.heading for one in blocks_of(rendered(text))}
    assert found["systemctl stop nginx\n"] == "Before You Begin"
    assert found["systemctl start nginx\n"] == "Afterwards"


def test_what_recovery_says_becomes_commands_of_the_second_route() -> None:
    markdown = rendered(SMALL + RECOVERY)
    (commands,) = (
        "".join(b.commands for b in blocks_of(markdown) if b.heading == heading)
        for heading in ["Step 7: make it run"]
    )
    for line in (
        'git -C "${TARGET:?}/app" checkout --quiet --detach production',
        "export APP_TOKEN='***'",
        'export UPLOADS="${TARGET:?}/uploads"',
        'export KEY="${APP_KEY}"',
        'ln -sfn "${TARGET:?}/uploads" "${TARGET:?}/app"/public/uploads',
        'chown -R www-data:www-data "${TARGET:?}/uploads"',
        'find "${TARGET:?}/uploads" -type d -exec chmod 755 {} +',
        "php artisan migrate:status",
        'sh -c "test -d ${TARGET:?}/uploads"',
    ):
        assert line in commands.splitlines(), line
    assert 'KEY=${SECRET_KEY}" >"${TARGET:?}/app"/.env)' in commands
    assert 'user=$(in_url "tms_app")&password=$(in_url "${TMS_APP_PASSWORD}")' in commands
    assert "nohup php -S" in commands
    assert "Write by hand, with the new connection strings: `own.ini` from `file:/etc/own.tpl`" in (
        markdown
    )
    assert not [one for one in blocks_of(markdown) if names_in(_ours(one.commands))]
    told = chapter(markdown, HEADINGS[5])
    assert "- [ ] Point \\*training\\* at the new address." in told
    assert "Monitor error logs: `/var/log/nginx/error.log`" in told
    assert "= 410" in told


@pytest.mark.parametrize(
    ("repository", "lines"),
    [
        ("{location: /b, password: env:PW}", ['export RESTIC_PASSWORD="${PW:?the password of']),
        (
            "{location: /b, password: 'command:pass show tms'}",
            ['export RESTIC_PASSWORD_FILE="${LOCAL_PASSWORD_FILE:?a file with the password of'],
        ),
        (
            "{location: 's3:https://h/b', password: file:/k, access: {access_key: env:ID,"
            " secret_key: file:/sk, region: eu-1, ca_file: /ca.pem}}",
            [
                'export AWS_ACCESS_KEY_ID="${ID:?for repository local}"',
                'export AWS_SECRET_ACCESS_KEY="$(cat /sk)"',
                "export AWS_DEFAULT_REGION=eu-1",
                'restic() { command restic --cacert /ca.pem "$@"; }',
            ],
        ),
        (
            "{location: 'sftp://b@vault:2222//srv/tms', password: file:/k,"
            " access: {identity: /id, known_hosts: /kh}}",
            ["-o sftp.command='ssh -i /id -o UserKnownHostsFile=/kh -p 2222 b@vault -s sftp'"],
        ),
        (
            "{location: 'rest:https://h/tms', password: file:/k,"
            " access: {user: env:U, password: 'keyring:tms/x'}}",
            [
                'export RESTIC_REST_USERNAME="${U:?for repository local}"',
                "LOCAL_RESTIC_REST_PASSWORD:?kept in keyring:tms/x}",
            ],
        ),
    ],
)
def test_stock_restic_gets_at_every_kind_of_store(repository: str, lines: list[str]) -> None:
    text = SMALL.replace("{location: /backup/tms, password: file:/etc/strongroom/local.key}",
                         repository)  # fmt: skip
    blocks = [one.commands for one in blocks_of(rendered(text)) if one.heading.startswith("Step 2")]
    opened = next(one for one in blocks if "RESTIC_REPOSITORY" in one)
    for line in lines:
        assert line in opened


def test_a_repository_of_a_master_key_is_none_for_stock_restic() -> None:
    text = SMALL.replace("password: file:/etc/strongroom/local.key", "master_key: file:/safe/key")
    markdown = rendered(text)
    assert "master key in `file:/safe/key`" in markdown
    assert "Add a password with `strongroom key add local`" in markdown


def test_an_application_without_a_database_names_none() -> None:
    text = re.sub(r"  database: .*\n", "", SMALL)
    markdown = rendered(text)
    assert "No database is configured." in markdown
    assert "--database" not in "".join(one.commands for one in blocks_of(markdown))
    assert "PGHOST" not in markdown


def test_several_databases_have_variables_of_their_own() -> None:
    second = "  audit: {kind: postgres, url: env:AUDIT_URL}\nrepositories:\n"
    text = SMALL.replace("repositories:\n", second) + (
        "recovery: {database: database, databases: {audit: env:NEW_AUDIT_URL}}\n"
    )
    markdown = runbook_markdown(ground(settings_of(text)))
    commands = "".join(one.commands for one in blocks_of(markdown))
    assert "--to env:RESTORE_DATABASE_URL" in commands
    assert "--to env:RESTORE_AUDIT_URL" in commands
    assert "--database env:NEW_DATABASE_DATABASE_URL --dry-run" in commands
    assert 'restore.sh "${NEW_DATABASE_AUDIT:?}"' in commands
    assert "| `NEW_AUDIT_URL` | a secret for the application |" in markdown
    assert "| `/etc/strongroom/local.key` | a secret for repository `local` |" in markdown


def test_a_broken_ledger_proves_nothing() -> None:
    import dataclasses

    settings = settings_of(SMALL)
    seen = evidence_of(settings, *drilled(settings))
    chain = dataclasses.replace(seen.chain, faults=("line 3: it was changed",))
    made = ground(settings, dataclasses.replace(seen, chain=chain), [point_of(settings)])
    markdown = runbook_markdown(made)
    assert "**The ledger is broken** (line 3: it was changed)" in markdown
    assert made.verdict(point_of(settings)) is Verdict.UNKNOWN


def test_retention_is_told_by_source_and_repository() -> None:
    text = SMALL + "retention: {local: {daily: 30d}, code: forever}\n"
    told = chapter(rendered(text), "BACKUP RETENTION POLICY")
    assert "| `database` | daily for 30d | `local` |" in told
    assert "| `uploads` | daily for 30d, weekly for 90d | `offsite` |" in told
    assert "| `code` | Permanent | `offsite` |" in told


def test_an_overdue_review_is_told() -> None:
    assert "**Next Review:** 2026-10-10 (overdue)" in rendered(
        SMALL + "review: {last: 2026-07-12, every: 90d}\n"
    )


def test_every_command_of_ours_in_it_exists() -> None:
    from tests.docs.test_pages import check_command

    for block in blocks_of(runbook_markdown(proven_ground(demo_settings(RECOVERY)))):
        for line in re.findall(r"^strongroom (.+)$", block.commands, re.MULTILINE):
            check_command(line, line)


def test_the_file_has_a_page_for_everything() -> None:
    long = [Procedure("/etc/long.md", "| a | b |\n|---|---|\n| " + "word " * 3000 + " | x |\n")]
    markdown = runbook_markdown(proven_ground(settings_of(SMALL), procedures=long))
    assert "word word" in read_pdf(markdown)


def test_secrets_in_variables_reach_what_is_run() -> None:
    """Whoever types them without `export` is not told hours later."""
    for heading in ("RESTORE PROCEDURES", "Route 1: Strongroom"):
        blocks = [one for one in blocks_of(rendered(SMALL + RECOVERY)) if one.heading == heading]
        assert "export OFFSITE_PASSWORD TMS_APP_PASSWORD APP_KEY\n" in blocks[0].commands
    markdown = rendered(SMALL + RECOVERY)
    assert "| `command:vault …` | gives a secret for the application |" in markdown
