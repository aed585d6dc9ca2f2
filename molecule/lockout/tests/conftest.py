# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of every release and one without systemd, which must be as before after each test."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from lockedout import DROP_IN, IMAGES, Host
from realhosts import booted


@pytest.fixture(scope="module", params=sorted(IMAGES))
def machine(request: pytest.FixtureRequest) -> t.Iterator[Host]:
    name = f"{request.path.stem.replace('test_', '').replace('_', '-')}-{request.param}"
    with booted(name, IMAGES[request.param]) as host:
        yield Host(host.name, host.image, host.variables)


@pytest.fixture
def tree(machine: Host) -> t.Iterator[t.Callable[[], str]]:
    """What the host looks like; after the test it must look like that again, and be left in peace."""
    before = machine.tree()
    yield machine.tree
    assert machine.lets_in(limit=10)
    machine.module("config_transaction", name="sshd", files=[{"path": DROP_IN, "state": "absent"}],
                   apply=machine.reload)  # fmt: skip
    assert machine.tree() == before
    assert machine.left_behind() == ""


@pytest.fixture
def stays(machine: Host) -> t.Iterator[subprocess.Popen]:
    """Somebody who is logged in before the test, and must be so after it."""
    client = subprocess.Popen(
        [*machine.ssh_argv("bob"), "echo in; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert client.stdin and client.stdout
    assert client.stdout.readline() == "in\n"
    yield client
    client.stdin.write("still\n")
    client.stdin.flush()
    assert client.stdout.readline() == "still\n", "an established session was cut"
    client.kill()
    client.communicate()


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """The count that matters, from all workers."""
    reports = [
        report for found in terminalreporter.stats.values() for report in found if getattr(report, "when", "") == "call"
    ]
    counts = [dict(report.user_properties) for report in reports]
    faults = sum(count.get("faults", 0) for count in counts)
    if faults:
        lost = sum(count.get("lost", 0) for count in counts)
        terminalreporter.write_line(f"{faults} faults, hosts lost: {lost}")
