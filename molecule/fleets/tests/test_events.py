# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebook for Event-Driven Ansible, run by ansible-rulebook: recorded lines, and those of a live reaper."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import shlex
import signal
import subprocess
import typing as t

import pytest
from endings import DEAF
from realhosts import Machine, booted, environment, inventory_of, role, until

RECORDED = pathlib.Path(__file__).with_name("recorded.json")


@pytest.fixture(scope="module")
def host() -> t.Iterator[Machine]:
    with booted("events-deb13", "trixie") as machine:
        yield machine


class Rulebook:
    """ansible-rulebook with the collection's rulebook, until it is closed."""

    def __init__(self, folder: pathlib.Path, host: Machine, through: list[str]):
        self.output = folder / "out"
        self._said = folder / "said"
        (folder / "hosts.json").write_text(inventory_of([host]))
        variables = {"session_policy_journal_through": through, "session_policy_output": str(self.output)}
        (folder / "variables.json").write_text(json.dumps(variables))
        words = ["ansible-rulebook", "--rulebook", "sessionops.policy.session_policy", "--inventory", "hosts.json"]
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                [*words, "--vars", "variables.json", "--verbose"],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self._said.read_text()

    def says(self, pattern: str, limit: float = 60) -> re.Match:
        found = until(lambda: re.search(pattern, self.said(), re.M), limit)
        assert found, self.said()
        return found

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def rulebook(tmp_path: pathlib.Path, host: Machine) -> t.Iterator[t.Callable[[list[str]], Rulebook]]:
    with contextlib.ExitStack() as stack:

        def start(through: list[str]) -> Rulebook:
            started = Rulebook(tmp_path, host, through)
            stack.callback(started.close)
            return started

        yield start


def plays(running: Rulebook) -> list[str]:
    return re.findall(r"^PLAY \[(.*)\]", running.said(), re.M)


def test_recorded_lines(host, rulebook):
    """Of what a host said, a failed ending makes one report, a change taken back an audit, and the rest nothing."""
    lines = RECORDED.read_text().replace("recorded.example", host.name)
    counted = {deed: lines.count(f'"{deed} ') for deed in ("could not end session", "ended session", "warned session")}
    assert counted["could not end session"] == 3 and counted["ended session"] and counted["warned session"], counted
    running = rulebook(["sh", "-c", f"printf %s {shlex.quote(lines)}; sleep 600", "recorded"])
    # The line about the change is the last one.
    running.says(r"^TASK \[Pass only if all hosts comply\]")
    assert plays(running) == ["Report login sessions", "Audit login sessions"], running.said()
    # What somebody without rights wrote looks the same.
    assert "mallory" in lines and "mallory" not in running.said()
    written = {path.name for path in (running.output / host.name).iterdir()}
    assert {"report.html", "sessions.json", "audit.json"} <= written


def test_a_live_reaper(host, rulebook, person):
    """The source reads the host's journal over ssh, while the reaper fails to end a session there."""
    quick = {"idle_timeout": "30s", "period": "5s", "warn": "10s"}
    role([host], "session_reaper", **{f"session_reaper_{name}": value for name, value in quick.items()})
    running = rulebook(host.ssh_argv())
    alice = person(host, "alice")
    alice.type(f"exec bash -c {shlex.quote(DEAF)}")
    alice.reads("^deaf")
    try:
        running.says(rf"^{host.name}: could not end session: .*'user': 'alice'", 120)
        running.says(r"^TASK \[Say where it is\]")
    finally:
        host.exec("pkill -9 -u alice -x bash", check=False)
    assert plays(running) == ["Report login sessions"], running.said()
    report = json.loads((running.output / host.name / "sessions.json").read_text())
    assert host.name in json.dumps(report)


def test_a_live_change_that_nobody_confirms(host, rulebook):
    running = rulebook(host.ssh_argv())
    files = [{"path": "/etc/unconfirmed.conf", "content": "taken back\n"}]
    assert until(lambda: host.exec("pgrep -x journalctl", check=False).returncode == 0, 60), running.said()
    assert host.module("config_transaction", name="unconfirmed", files=files, confirm_within=5)["changed"]
    running.says(rf"^{host.name}: took back an unconfirmed change: .*'transaction': 'unconfirmed'")
    running.says(r"^TASK \[Pass only if all hosts comply\]")
    assert (running.output / host.name / "audit.json").is_file()
