"""A fleet whose hosts are networks of their own, and a cable that is pulled out: neither end learns
of it, as both do when a connection ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.failure_ground import wait_until
from tests.support.fleet_ground import fleet_ground
from tests.support.fleet_network import cables_or_proxies


def test_an_agent_whose_cable_is_out_is_told_and_catches_up_once(tmp_path: Path) -> None:
    # So that none comes in the middle of this.
    often = f"{datetime.now(UTC) - timedelta(hours=12):%-M %-H} * * *"
    with cables_or_proxies() as network, fleet_ground(tmp_path, network) as ground:
        control, alpha = ground.agent("control"), ground.agent("alpha", check=often)
        services = control.serve("--controller"), alpha.serve("--drill-here")
        for service in services:
            service.wait_for("capture ended with status 0")
        for words in (("drill",), ("check", "--read-data"), ("prune",)):
            alpha.asked(*words)()
        wait_until(lambda: control.verdict("alpha:agent") == "PROVEN")
        alpha.cut_off()
        wait_until(lambda: control.verdict("alpha:agent") == "STALE")
        wait_until(lambda: alpha.records("state-database")[-1]["reached"] is False)
        by_hand = alpha.run("backup")
        assert (by_hand.returncode, "it is done here" in by_hand.stderr) == (0, True)
        # It ends and begins without the database, too, and finds that it missed some checks.
        assert services[1].stop() == 0
        alpha.miss_days(often)
        alpha.serve("--drill-here").wait_for("serving alpha", "the state database")
        assert control.verdict("alpha:agent") == "STALE"
        alpha.reconnect()
        wait_until(lambda: alpha.jobs("check:local"))
        wait_until(lambda: control.verdict("alpha:agent") == "PROVEN")
        alpha.asked("backup")()
        [made_up] = alpha.jobs("check:local")
        assert (made_up["exit_status"], "missed" in made_up["because"]) == (0, True)
        assert "/alone" not in made_up["workflow"]
