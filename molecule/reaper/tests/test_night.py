# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A night under the reaper's timer: who sits idle ends on time and warned, PuTTY keepalives or not; nobody else does."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from realhosts import until
from reaping import METRICS, QUICK

IDLE, PERIOD, WARN = 40, 5, 15
# The kernel moves a terminal's atime in steps of 8 s, a run and an ending take a while, and the machine is busy.
EARLY, LATE = 8, 15
SETUP = r"""
mkdir -p /var/lib/prometheus/node-exporter /root/.putty/sessions
echo 'erin:secret' | chpasswd
printf 'HostName=127.0.0.1\nUserName=erin\nPingInterval=0\nPingIntervalSecs=1\n' > /root/.putty/sessions/keepalive
"""


def ssh_without_terminal(machine, user, command):
    argv = [*machine.ssh_argv(user), command]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def night(machine, reaper, seat):
    machine.exec(SETUP)
    reaper.role(**QUICK, exempt_users=["carol"])
    key = machine.exec("ssh-keygen -E md5 -lf /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    enter = machine.variables["testhost_enter"].split()
    enter += ["podman", "exec", "-it", machine.variables["testhost_container"]]
    plink = ["plink", "-batch", "-hostkey", key.replace("MD5:", ""), "-pw", "secret", "-load", "keepalive"]
    people = {
        "typist": seat(machine, "alice"),
        "exempt": seat(machine, "carol"),
        "vim": seat(machine, "dave"),
        "back": seat(machine, "bob"),
        "stopped": seat(machine, "admin"),
        "plink": seat(machine, "erin", client=[*enter, *plink]),
    }
    people["vim"].type("vim notes.txt")
    people["vim"].reads("~")
    people["vim"].type("iwords that nobody has saved", enter=False)
    people["stopped"].type("cat /etc/hosts")
    people["stopped"].key("C-s")
    commands = {"still": ssh_without_terminal(machine, "alice", "sleep 3000"),
                "working": ssh_without_terminal(machine, "bob", "while :; do echo; sleep 1; done")}  # fmt: skip
    # A multiplexer that answers nobody must not hold up a run for long.
    machine.exec("su dave -s /bin/sh -c 'tmux -f /dev/null new-session -d -s deaf' && pkill -STOP -u dave tmux")
    began, came_back, typed = time.time(), False, 0.0
    seen: dict = {"screen": "", "pause": 0.0}
    while time.time() < began + IDLE + 2 * PERIOD + LATE + 20 and (
        people["plink"].connected or commands["still"].poll() is None
    ):
        people["typist"].type("x", enter=False)
        if not came_back and "will be ended" in people["back"].screen():
            people["back"].type("echo I am back")
            came_back = typed = time.time()
        if came_back:
            people["back"].type("x", enter=False)
            seen["pause"], typed = max(seen["pause"], time.time() - typed), time.time()
        seen["screen"] = people["plink"].screen() if people["plink"].connected else seen["screen"]
        time.sleep(1)
    seen["listed"] = json.loads(reaper.command("list", "--json").stdout)
    seen["came_back"] = came_back
    yield {"people": people, "commands": commands, "began": began, **seen}
    for command in commands.values():
        command.kill()


def test_an_idle_terminal_ends_on_time_and_warned(night, reaper):
    plink = night["people"]["plink"]
    assert plink.ended_after and IDLE - EARLY <= plink.ended_after <= IDLE + 2 * PERIOD + LATE, plink.ended_after
    (warned,) = reaper.deeds("warned session", "erin")
    assert " told=pts/" in warned and "because=idle" in warned
    # The connection is gone before the run has looked again, and says so.
    assert until(lambda: reaper.deeds("ended session", "erin"), 60)
    assert len(reaper.deeds("ended session", "erin")) == 1
    assert night["screen"].count("will be ended in") == 1, night["screen"]


def test_who_works_is_exempt_or_has_work_open_stays(night, reaper):
    for name in ("typist", "exempt", "vim"):
        assert night["people"][name].connected, name
    assert night["commands"]["working"].poll() is None
    for user in ("carol", "dave"):
        assert not reaper.deeds("session", user)
    verdicts = {(s["user"], s["kind"]): s["verdict"] for s in night["listed"]}
    assert verdicts["alice", "terminal"] == "active" and verdicts["carol", "terminal"] == "exempt"
    assert verdicts["dave", "terminal"] == "protected" and verdicts["bob", "exec"] == "active"


def test_who_comes_back_after_the_warning_is_forgotten(night, reaper):
    assert night["came_back"] and night["people"]["back"].connected
    warned = reaper.deeds("warned session", "bob")
    # A machine too busy to let bob go on typing has him warned again, and rightly so.
    assert len(warned) == 1 or (warned and night["pause"] >= IDLE - WARN - EARLY), (warned, night["pause"])
    assert not reaper.deeds("ended session", "bob")


def test_a_command_without_a_terminal_is_judged_by_its_counters(night, reaper):
    assert night["commands"]["still"].poll() is not None
    assert until(lambda: reaper.deeds("ended session", "alice"), 60)
    assert len(reaper.deeds("ended session", "alice")) == 1


def test_a_stopped_terminal_and_a_deaf_tmux_hold_up_no_run(night, machine, reaper):
    assert not night["people"]["stopped"].connected
    took = machine.exec("systemctl show -p Result -p ExecMainStatus session-reaper").stdout
    assert "Result=success" in took and "ExecMainStatus=0" in took
    began = time.time()
    reaper.command("run")
    assert time.time() - began < 15


def test_metrics(night, machine):
    text = until(lambda: machine.exec(f"cat {METRICS}", check=False).stdout, 15)
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert {family.type for family in found.values()} <= {"gauge", "counter"}
    assert found["session_reaper_terminated"].samples[0].value >= 3
    assert found["session_reaper_warned"].samples[0].value >= 4
    assert abs(found["session_reaper_last_success_timestamp_seconds"].samples[0].value - time.time()) < 60
    sessions = {tuple(s.labels.values()): s.value for s in found["session_reaper_sessions"].samples}
    assert sessions["terminal", "exempt"] == 1 and sessions["terminal", "protected"] == 1
    assert machine.exec(f"stat -c '%a %U' {METRICS}").stdout.split() == ["644", "root"]


def test_the_list_fits_a_terminal(night, reaper, machine):
    table = reaper.command("list").stdout
    assert "\x1b" not in table and max(map(len, table.splitlines())) <= 80
    assert "carol" in table and "exempt" in table and "kept: editors" in table
    shown = machine.exec("script -qfc 'session-reaper list' /dev/null").stdout
    assert "\x1b[" in shown
    for word in ("list", "run", "check-policy", "metrics"):
        assert word in reaper.command("--help").stdout


def test_the_service_is_hardened(night, machine):
    said = machine.exec("systemd-analyze security session-reaper.service").stdout.splitlines()[-1]
    score = float(said.split(":")[1].split()[0])
    assert score <= 3.0, said
