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
import yaml
from blocks import Block
from endings import DEAF
from realhosts import CHECKOUT, Machine, booted, environment, inventory_of, role, until

RECORDED = pathlib.Path(__file__).with_name("recorded.json")
OURS = CHECKOUT / "extensions/eda/rulebooks/session_policy.yml"
COMMAND = "ansible-rulebook --rulebook sessionops.policy.session_policy --inventory hosts.yml --vars events.yml"


@pytest.fixture(scope="module")
def host() -> t.Iterator[Machine]:
    with booted("events-deb13", "trixie") as machine:
        yield machine


class Rulebook:
    """ansible-rulebook with a rulebook, the collection's unless it is named, until it is closed."""

    def __init__(self, folder: pathlib.Path, host: Machine, words: list[str], variables: dict):
        self.output = folder / "out"
        self._said = folder / "said"
        (folder / "hosts.yml").write_text(inventory_of([host]))
        (folder / "events.yml").write_text(json.dumps({**variables, "session_policy_output": str(self.output)}))
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                [*words, "--verbose"],
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
def rulebook(tmp_path: pathlib.Path, host: Machine) -> t.Iterator[t.Callable[..., Rulebook]]:
    with contextlib.ExitStack() as stack:

        def start(through: list[str], command: str = COMMAND, variables: dict | None = None) -> Rulebook:
            told = {**(variables or {}), "session_policy_journal_through": through}
            started = Rulebook(tmp_path, host, shlex.split(command), told)
            stack.callback(started.close)
            return started

        yield start


def recorded(host: Machine) -> tuple[str, list[str]]:
    """Lines of a host's journal, and the words that say them instead of journalctl."""
    lines = RECORDED.read_text().replace("recorded.example", host.name)
    return lines, ["sh", "-c", f"printf %s {shlex.quote(lines)}; sleep 600", "recorded"]


def plays(running: Rulebook) -> list[str]:
    return re.findall(r"^PLAY \[(.*)\]", running.said(), re.M)


def told(block: Block) -> dict:
    """The variables of a block, all of which the collection's rulebook takes."""
    variables = yaml.safe_load(block.text)
    assert {name for name in variables if name not in OURS.read_text()} == set()
    return variables


def test_recorded_lines(host, rulebook):
    """Of what a host said, a failed ending makes one report, a change taken back an audit, and the rest nothing."""
    lines, through = recorded(host)
    counted = {deed: lines.count(f'"{deed} ') for deed in ("could not end session", "ended session", "warned session")}
    assert counted["could not end session"] == 3 and counted["ended session"] and counted["warned session"], counted
    running = rulebook(through)
    # The line about the change is the last one.
    running.says(r"^TASK \[Pass only if all hosts comply\]")
    assert plays(running) == ["Report login sessions", "Audit login sessions"], running.said()
    # What somebody without rights wrote looks the same.
    assert "mallory" in lines and "mallory" not in running.said()
    written = {path.name for path in (running.output / host.name).iterdir()}
    assert {"report.html", "sessions.json", "audit.json"} <= written


def test_a_live_reaper(host, rulebook, person, guide):
    """As the guide says, but for where host and folder are. The source reads the host's journal over ssh, while the reaper
    fails to end a session there."""
    quick = {"idle_timeout": "30s", "period": "5s", "warn": "10s"}
    role([host], "session_reaper", **{f"session_reaper_{name}": value for name, value in quick.items()})
    variables, typed = guide("event_driven")
    ((command, _shown),) = typed.commands
    running = rulebook(host.ssh_argv(), command, told(variables))
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


def test_a_live_change_that_nobody_confirms(host, rulebook, guide):
    """As the guide says for a host that collects journals; here it has its own in that folder."""
    (variables,) = guide("event_driven")
    collected = told(variables)["session_policy_journal"]
    file = host.exec("journalctl --header | sed -n 's/^File path: //p' | head -n 1").stdout
    host.exec(f"mkdir -p $(dirname {collected}) && ln -sfn $(dirname {file.strip()}) {collected}")
    running = rulebook(host.ssh_argv(), variables=told(variables))
    files = [{"path": "/etc/unconfirmed.conf", "content": "taken back\n"}]
    assert until(lambda: host.exec("pgrep -x journalctl", check=False).returncode == 0, 60), running.said()
    assert host.module("config_transaction", name="unconfirmed", files=files, confirm_within=5)["changed"]
    running.says(rf"^{host.name}: took back an unconfirmed change: .*'transaction': 'unconfirmed'")
    running.says(r"^TASK \[Pass only if all hosts comply\]")
    assert (running.output / host.name / "audit.json").is_file()


def test_a_rulebook_of_your_own(host, rulebook, guide, tmp_path):
    """That of the guide, with recorded lines."""
    (block,) = guide("event_driven")
    (ruleset,) = yaml.safe_load(block.text)
    (source,) = ruleset["sources"]
    _lines, source["sessionops.policy.journal"]["through"] = recorded(host)
    (tmp_path / "own.yml").write_text(yaml.safe_dump([ruleset]))
    running = rulebook([], "ansible-rulebook --rulebook own.yml --inventory hosts.yml")
    running.says(r"^bob at pts/0 was idle for 35 s$")
