"""The runbook in short on a kit's page: what makes it run, with the secrets of the opened kit."""

from __future__ import annotations

from strongroom.report.kit_short import in_short
from tests.support.runbook_ground import SMALL, proven_ground, settings_of

RECOVERY = """\
recovery:
  folders: {code: app}
  checkout: v1.3.0
  database_role: tms_app
  database_password: env:TMS_PW
  secrets: {key: env:APP_KEY}
  environment: {APP_ENV: production}
  render: {.env: "file:/etc/tms/app.env", own.ini: "key={secret.key}\\n[x]\\n", no.env: "file:/no"}
  ownership: {uploads: {owner: www-data}}
  user: www-data
  start: ["systemctl start tms"]
  url: http://127.0.0.1:8080
  http: [{path: /health}]
  by_hand: [Point DNS at it.]
contacts: [{role: database, name: Amina, phone: "+971"}]
"""
FILES = {"file:/etc/tms/app.env": "secrets/app.env", "env:APP_KEY": "secrets/APP_KEY"}


def test_the_page_tells_the_whole_way() -> None:
    short = in_short(proven_ground(settings_of(SMALL + RECOVERY)), FILES, "runbook.md")
    assert short.run == (
        'export KIT="$PWD/kit" WORK="$PWD" TARGET="$PWD/target"',
        "export NEW_DATABASE=database_restored",
        'mkdir -p "$(dirname "${TARGET:?}/uploads")" && mv -T restored/uploads/srv/tms/uploads '
        '"${TARGET:?}/uploads"',
        'mkdir -p "$(dirname "${TARGET:?}/app")" && mv -T restored/code-code "${TARGET:?}/app"',
        'git -C "${TARGET:?}/app" checkout --quiet --detach v1.3.0',
        'install -D -m 600 "${KIT:?}"/secrets/app.env "${TARGET:?}/app"/.env',
        "export APP_ENV=production",
        'mkdir -p "$(dirname "${TARGET:?}/app"/own.ini)"',
        "(umask 077; printf '%s\\n%s\\n%s' \"key=$(cat \"${KIT:?}\"/secrets/APP_KEY)\" '[x]' '' "
        '>"${TARGET:?}/app"/own.ini)',
        'chown www-data: "${TARGET:?}/app"/own.ini',
        'chown -R www-data "${TARGET:?}/uploads"',
        'chmod 600 "${TARGET:?}/app"/.env',
        'chown www-data: "${TARGET:?}/app"/.env',
        'chmod 600 "${TARGET:?}/app"/own.ini',
        'chown www-data: "${TARGET:?}/app"/own.ini',
        'cd "${TARGET:?}/app"',
        "systemctl start tms",
    )
    assert short.health[-1] == 'test "$(status_of http://127.0.0.1:8080/health)" = 200'
    assert short.contacts == ("database, Amina, +971",)
    assert short.by_hand[:3] == (
        "Write no.env with the new connection strings",
        "In .env put the new values in the place of what stands in braces, if any does",
        "Point DNS at it.",
    )
    assert short.runbook == "runbook.md"


def test_without_a_section_how_it_starts_is_not_known() -> None:
    short = in_short(proven_ground(settings_of(SMALL)), {}, "")
    assert (short.run, short.health, short.contacts) == ((), (), ())
    assert "Let backups run from the new place" in short.by_hand
