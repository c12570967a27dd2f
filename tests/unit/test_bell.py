"""What wakes a service: rung from anywhere, in the midst of waiting for it, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from strongroom.service.bell import Bell

# Signals one after the other, from outside: from a thread they would come when this one waits.
HAIL = (
    "import os, sys, time\nfor _ in range(5000): os.kill(int(sys.argv[1]), 1); time.sleep(0.0001)"
)


def test_it_is_heard_once_however_often_it_was_rung() -> None:
    bell = Bell()
    assert not bell.wait(0)
    assert not bell.wait(-1)
    bell.ring()
    bell.ring()
    assert bell.wait(60)
    assert not bell.wait(0)


def test_it_wakes_who_waits() -> None:
    bell = Bell()
    threading.Timer(0.05, bell.ring).start()
    assert bell.wait(60)


def test_a_handler_of_signals_may_ring_it_while_it_is_waited_for() -> None:
    bell, seen = Bell(), 0
    before = signal.signal(signal.SIGHUP, lambda *_: bell.ring())
    try:
        with subprocess.Popen([sys.executable, "-c", HAIL, str(os.getpid())]) as hail:
            while hail.poll() is None:
                seen += bell.wait(0.00001)
        assert hail.returncode == 0
        assert seen > 0
    finally:
        signal.signal(signal.SIGHUP, before)
