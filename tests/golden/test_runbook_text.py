"""What whoever recovers reads, word for word: the demonstration's runbook, from fixed evidence."""

from __future__ import annotations

from pathlib import Path

from strongroom.report.runbook import runbook_markdown
from strongroom.report.runbook_ground import Procedure
from tests.support.runbook_ground import demo_settings, proven_ground

GOLDEN = Path(__file__).with_name("runbook.md")
MORE = """
recovery:
  checkout: v1.3.0
  folders: {code: app}
  database_role: tms_app
  environment: {DB_HOST: "{database.host}", UPLOADS_PATH: "{uploads}"}
  ownership: {uploads: {owner: www-data, folder_mode: "755"}}
  serve: php -S 127.0.0.1:8080 -t public
  url: http://127.0.0.1:8080
  by_hand: [Point training.example.ae at the new address.]
runbook:
  before: [systemctl stop nginx]
  after: [systemctl start nginx]
kit:
  escrow: ["file:/srv/demo/repository.key"]
  passphrase: file:/etc/strongroom/kit.passphrase
  folder: /var/lib/strongroom/kits
"""
DNS = "# DNS\n\nOnly Amina may change `training.example.ae`.\n"


def test_the_demonstrations_runbook_reads_well() -> None:
    ground = proven_ground(demo_settings(MORE), procedures=[Procedure("/srv/demo/dns.md", DNS)])
    assert runbook_markdown(ground) == GOLDEN.read_text(encoding="utf-8")
