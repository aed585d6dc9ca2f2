# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that survives a session, left behind for real, and taken away as far as nobody meant it to stay."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import signal
import subprocess
import time

import pytest
from realhosts import Person, run, until

PROCESSES = ["closing_session", "orphan_process", "detached_multiplexer"]
NOW = {"kinds": PROCESSES, "older_than": "0"}
EVERYTHING = {**NOW, "intent": "ignore", "protect": []}
DRIVER = pathlib.Path(__file__).with_name("driver.py")
SETUP = (
    "mkdir -p -m 700 /root/.ssh; echo 'StrictHostKeyChecking no' > /root/.ssh/config;"
    "test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519;"
    "for user in admin erin; do cat /root/.ssh/id_ed25519.pub >> /home/$user/.ssh/authorized_keys; done;"
    "echo admin:secret | chpasswd; loginctl enable-linger admin"
)
# Without PAM sshd's sessions have no scope.
WITHOUT_PAM = (
    "echo UsePAM no > /etc/ssh/sshd_config.d/00-plain.conf; systemctl reload ssh; sleep 1;"
    "ssh admin@127.0.0.1 'setsid sleep 4300 >/dev/null 2>&1 </dev/null &';"
    "rm /etc/ssh/sshd_config.d/00-plain.conf; systemctl reload ssh; sleep 1"
)
AT_THE_PROMPT = [
    "sleep 4001 &",
    "nohup sleep 4002 >/dev/null 2>&1 &",
    "setsid sleep 4003 >/dev/null 2>&1 &",
    "(sleep 4004 &)",
    "sleep 4005 & disown",
]
# What runs when everything is left behind, and how each is told: cause, and what speaks against taking it.
TOLD = {
    "sleep 4002": ("shell_ended", ["nohup", "background"]),
    "sleep 4003": ("closing", ["setsid"]),
    "sleep 4004": ("shell_ended", ["background"]),
    "sleep 4005": ("shell_ended", ["background"]),
    "sleep 4007": ("shell_ended", ["background"]),
    "sleep 4200": ("shell_ended", []),
    "sleep 4201": ("shell_ended", ["background"]),
    "sleep 4202": ("shell_ended", ["lingering"]),
    "sleep 4300": ("no_session", ["setsid", "lingering"]),
    "sleep 4403": ("shell_ended", ["system_user", "nohup", "background"]),
}
# What nobody may so much as name.
UNTOLD = ["sleep 4400", "sleep 4401", "sleep 4500", "mosh-server"]


def running(host):
    """pid by command line, of what the tests left."""
    lines = host.exec("ps -eo pid=,args=").stdout.splitlines()
    pairs = [line.strip().split(" ", 1) for line in lines]
    found = {args.replace("/usr/bin/", "").replace("/bin/", ""): int(pid) for pid, args in pairs}
    return {args: pid for args, pid in found.items() if re.match(r"sleep 4|mosh-server|vim ", args)}


def cut(machine, user, command, *options):
    """A command over ssh whose client is killed when it runs."""
    client = subprocess.Popen(
        [*machine.ssh_argv(user, *options), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    client.stdout.read(1)
    client.kill()
    client.communicate()


class Left:
    def __init__(self, machine):
        self.machine, self.people = machine, []

    def seat(self, user, *lines, **kw):
        person = Person(self.machine, user, **kw).at_prompt(40)
        self.people.append(person)
        for line in lines:
            person.type(line)
        return person

    def all(self):
        m = self.machine
        m.exec(SETUP)
        alice = self.seat("alice", *AT_THE_PROMPT, "sleep 4006")
        killed = self.seat("alice", "sleep 4007 &")
        self.carol = self.seat("carol")
        dave = self.seat(
            "dave",
            "tmux new -d -s quiet; tmux new -d -s busy 'sleep 4100'; tmux new -d -s edit 'vim letter'",
            "tmux new -d -s jobs; tmux send -t jobs 'sleep 4102 &' Enter",
            "screen -dmS away; screen -dmS work sleep 4101; echo all made",
        )
        dave.reads("^all made")
        self.tmux, self.screen = self.seat("dave", "tmux -L used"), self.seat("dave", "screen -S used")
        mosh = "stty rows 30 cols 100; LC_ALL=C.UTF-8 TERM=xterm exec mosh erin@127.0.0.1"
        enter = [*shlex.split(m.variables["testhost_enter"]), "podman", "exec", "-i", m.variables["testhost_container"]]
        self.mosh = self.seat("erin", client=[*enter, "script", "-qfc", mosh, "/dev/null"])
        until(lambda: "sleep 4006" in running(m), 10)
        alice.key("C-z")
        alice.reads("Stopped")
        cut(m, "bob", "echo x; exec sleep 4200")
        run([*m.ssh_argv("bob"), "sleep 4201 >/dev/null 2>&1 & exit"], timeout=30)
        cut(m, "admin", "echo x; exec sleep 4202")
        m.ssh("sudo sh -c 'nohup sleep 4403 >/dev/null 2>&1 &'", user="admin")
        m.exec(WITHOUT_PAM)
        m.exec("su admin -c 'echo exec sleep 4400 | at now 2>/dev/null'")
        unit = "XDG_RUNTIME_DIR=/run/user/$(id -u) systemd-run --user --quiet sleep 4401"
        assert until(lambda: m.exec(f"su admin -c '{unit}'", check=False).returncode == 0, 15)
        m.exec("setsid unshare --fork --pid --mount-proc su alice -c 'exec sleep 4500' >/dev/null 2>&1 </dev/null &")
        self.upload()
        m.exec(f"kill -9 {next(p for p, title in m.connections('carol').items() if 'priv' in title)}")
        m.exec(f"kill -9 $(ps -o ppid= -p {running(m)['sleep 4007']})")
        for person in (alice, killed, dave):
            person.leaves()
        assert until(lambda: not set(running(m)) & {"sleep 4001", "sleep 4006"}, 20), running(m)
        assert until(lambda: "sleep 4400" in running(m), 20)
        return self

    def upload(self):
        """A cut scp: half a file at its final name, and nothing that runs."""
        argv = self.machine.ssh_argv("bob")
        scp = ["scp", "-l", "800", *argv[1:-1], "/bin/bash", "bob@127.0.0.1:upload"]
        scp[scp.index("-p")] = "-P"
        client = subprocess.Popen(scp, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert until(lambda: int(self.machine.exec("stat -c %s /home/bob/upload || echo 0").stdout) > 20000, 30)
        client.send_signal(signal.SIGKILL)
        client.wait()

    def close(self):
        for person in self.people:
            person.leaves()


@pytest.fixture(scope="module")
def left(machine):
    there = Left(machine)
    try:
        yield there.all()
    finally:
        there.close()


@pytest.fixture(scope="module")
def told(machine, left):
    """What session_info says of everything, and the commands by pid."""
    result = machine.module("session_info", gather_subset=["leftovers"], leftovers=NOW)
    assert "leftovers" in result, result
    return result["leftovers"]


@pytest.fixture(scope="module")
def plan(machine, told):
    return machine.module("leftover_remove", check=True, diff=True, **NOW)


def by_command(machine, leftovers):
    pids = running(machine)
    return {args: entry for args, pid in pids.items() for entry in leftovers if entry["pid"] == pid}


def test_each_orphan_is_told_apart(machine, told):
    found = by_command(machine, told)
    assert {args: (x["cause"], x["skipped_because"]) for args, x in found.items()} == TOLD
    assert {x["kind"] for args, x in found.items() if TOLD[args][0] != "closing"} == {"orphan_process"}
    assert found["sleep 4003"]["kind"] == "closing_session" and found["sleep 4003"]["logind_id"]
    named = {process["pid"] for x in told for process in x["processes"]} | {x["pid"] for x in told}
    pids = running(machine)
    for args in UNTOLD:
        mine = [pid for line, pid in pids.items() if line.startswith(args)]
        assert mine and not named.intersection(mine), args


def test_a_sshd_without_its_privileged_half(told, left):
    (found,) = [x for x in told if x["cause"] == "unsupervised"]
    assert found["user"] == "carol" and found["skipped_because"] == [] and left.carol.connected
    assert [process["command"] for process in found["processes"]][1:] == ["bash"]


def test_detached_multiplexers_one_session_at_a_time(told):
    found = {(x["cause"], x["name"]): x for x in told if x["kind"] == "detached_multiplexer"}
    assert {key: x["skipped_because"] for key, x in found.items()} == {
        ("tmux", "quiet"): [],
        ("tmux", "busy"): ["jobs"],
        ("tmux", "edit"): ["editors", "jobs"],
        ("tmux", "jobs"): ["jobs"],
        ("screen", "away"): [],
        ("screen", "work"): ["jobs"],
    }
    assert all(x["age"] == min(x["attached_age"], x["activity_age"]) for x in found.values())
    assert {x["user"] for x in found.values()} == {"dave"}


def test_a_cut_upload_leaves_half_a_file_and_no_process(machine, told, left):
    assert 0 < int(machine.exec("stat -c %s /home/bob/upload").stdout) < pathlib.Path("/bin/bash").stat().st_size
    assert not any(x["command"] in ("scp", "sftp-server") for x in told)


def without_time(entry):
    return {
        key: value
        for key, value in entry.items()
        if key not in ("age", "attached_age", "activity_age", "outcome", "steps", "survivors", "trash", "trouble")
    }


def test_session_info_shows_what_would_be_taken(told, plan):
    """The two modules say the same of everything, with the same reasons."""
    mine = {x["id"]: without_time(x) for x in told if x["user"] != "root"}
    assert mine == {x["id"]: without_time(x) for x in plan["leftovers"] if x["user"] != "root"}
    assert sorted(plan["summary"]["would_remove"]) == sorted(x["id"] for x in told if not x["skipped_because"])
    assert plan["changed"] and len(plan["summary"]["would_remove"]) == 4
    before, after = plan["diff"]["before"].splitlines(), plan["diff"]["after"].splitlines()
    assert len(before) - len(after) == 4 and set(after) < set(before)


def test_by_default_nothing_is_old_enough(machine, plan):
    result = machine.module("leftover_remove", kinds=PROCESSES)
    assert not result["changed"] and result["leftovers"]
    assert all("older_than" in x["skipped_because"] for x in result["leftovers"])
    seen = machine.module("session_info", gather_subset=["leftovers"])["leftovers"]
    assert {x["id"]: x["skipped_because"] for x in result["leftovers"]} == {
        x["id"]: x["skipped_because"] for x in seen if x["kind"] in PROCESSES
    }


def test_more_than_was_allowed_is_refused(machine, plan):
    result = machine.module("leftover_remove", max_remove="3", **NOW)
    assert result["failed"] and "4 leftovers would be ended, and max_remove allows 3" in result["msg"]
    assert not machine.module("leftover_remove", users=["nobody"], **NOW)["leftovers"]
    excluded = machine.module("leftover_remove", check=True, exclude_users=["dave", "carol"], **NOW)
    assert len(excluded["summary"]["would_remove"]) == 1


def test_what_nobody_meant_to_stay_is_taken(machine, plan, left):
    before = running(machine)
    result = machine.module("leftover_remove", reason="tidying", **NOW)
    assert not result["failed"], result["msg"]
    assert sorted(result["summary"]["removed"]) == sorted(plan["summary"]["would_remove"]), result
    assert set(before) - set(running(machine)) == {"sleep 4200"}
    assert until(lambda: not left.carol.connected, 10)
    names = machine.exec("su dave -c \"tmux list-sessions -F '#{session_name}'; screen -ls || true\"").stdout
    assert re.findall(r"^(?:busy|edit|jobs|quiet)$|\.(?:work|away)\b", names, re.M) == ["busy", "edit", "jobs", ".work"]
    log = machine.exec("journalctl -o cat -t leftover_remove").stdout.splitlines()
    assert len(log) == 4 and all("reason=tidying" in line and "outcome=removed" in line for line in log)
    again = machine.module("leftover_remove", **NOW)
    assert not again["changed"] and not again["failed"]


def test_somebody_who_comes_back_meanwhile_keeps_his_tmux(machine, left):
    """He attaches between the look and the act."""
    machine.put_engine(DRIVER)
    dave = Person(machine, "dave").at_prompt()
    left.people.append(dave)
    dave.type("tmux new -d -s back; screen -dmS returned; clear")
    other = Person(machine, "dave").at_prompt()
    left.people.append(other)
    time.sleep(1)
    asked = {"wish": {"kinds": ["detached_multiplexer"]}, "protect": ["jobs"], "between": "sleep 6"}
    words = shlex.join(["python3", "/root/driver/driver.py", "/root/driver", json.dumps(asked)])
    driver = subprocess.Popen([*machine.ssh_argv("root"), words], stdout=subprocess.PIPE, text=True)
    time.sleep(3)
    dave.type("tmux attach -t back")
    other.type("screen -r returned")
    said = json.loads(driver.communicate(timeout=60)[0])
    assert said["because"].get("attached") == 2 and "removed" not in said["outcomes"], said
    assert dave.connected and "returned" in machine.exec("su dave -c 'screen -ls'", check=False).stdout
    dave.leaves()
    other.leaves()


def test_everything_that_was_left_may_be_asked_for(machine, left):
    result = machine.module("leftover_remove", **EVERYTHING)
    assert not result["failed"], result["msg"]
    stays = {args for args in TOLD if "system_user" in TOLD[args][1]}
    assert {args for args in running(machine) if args in TOLD} == stays
    assert not [x for x in result["leftovers"] if x["outcome"] == "removed" and x["user"] == "root"]
    for args in UNTOLD:
        assert any(line.startswith(args) for line in running(machine)), args
    assert left.tmux.connected and left.screen.connected and left.mosh.connected
    left.mosh.type("echo still $((40 + 2))")
    left.mosh.reads("still 42")
    again = machine.module("leftover_remove", **EVERYTHING)
    assert not again["changed"] and not again["failed"]


def test_what_hears_no_term_is_killed_only_by_force(machine, left):
    cut(machine, "bob", "trap : HUP TERM; echo x; while :; do sleep 0.1; done")
    result = machine.module("leftover_remove", users=["bob"], hup_grace=1, term_grace=1, **NOW)
    assert result["failed"] and "bash" in result["msg"] and "did not end" in result["msg"], result
    forced = machine.module("leftover_remove", users=["bob"], hup_grace=1, term_grace=1, force=True, **NOW)
    assert forced["changed"] and [x["steps"][-1]["signal"] for x in forced["leftovers"]] == ["KILL"]


@pytest.mark.parametrize("become", [False, True])
def test_its_own_task_is_no_leftover(machine, left, become):
    """An async task has lost its parents, and looks like an orphan of its own connection."""
    variables = {"ansible_user": "admin", "ansible_become": True} if become else {}
    options = ("--background", "60", "--poll", "1")
    result = machine.start("leftover_remove", variables=variables, options=options, **EVERYTHING)()
    assert not result["failed"] and "leftovers" in result, result


def test_only_root_may(machine):
    refused = machine.start("leftover_remove", variables={"ansible_user": "bob"}, **NOW)()
    assert refused["failed"] and "become: true" in refused["msg"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"older_than": "1 day"}, "older_than: '1 day' is not a duration"),
        ({"max_remove": "lots"}, "max_remove: 'lots' is neither a count nor a percentage"),
        ({"lock_patterns": ["*.lock"]}, "lock_patterns: '*.lock' is no pattern of files"),
        ({"hup_grace": "-1"}, "hup_grace: '-1' is not a duration"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(machine, args, sentence):
    refused = machine.module("leftover_remove", **args)
    assert refused["failed"] and refused["msg"].startswith(sentence)
