# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which session is our own, however Ansible came; and hosts that are hostile, closed, or without logind."""

from __future__ import annotations

import re

import pytest
import yaml
from realhosts import CHECKOUT, playbook

ADMIN = {"ansible_user": "admin"}
BECOME = {**ADMIN, "ansible_become": True}
WAYS = {
    "root": ({}, []),
    "become": (BECOME, []),
    "become another": ({**BECOME, "ansible_become_user": "alice", "ansible_pipelining": True}, []),
    "pipelining off": ({**BECOME, "ansible_pipelining": False}, []),
    "a connection a task": ({**BECOME, "ansible_ssh_args": "-o ControlMaster=no -o ControlPath=none"}, []),
    "async": ({}, ["--background", "60", "--poll", "1"]),
    "async become": (BECOME, ["--background", "60", "--poll", "1"]),
    "not root": (ADMIN, []),
}


def look(host, variables, options=(), **args):
    """session_info's result; `options` are words for ansible, such as those for async."""
    return host.start("session_info", variables=variables, options=options, **{"sample": 0, **args})()


@pytest.mark.parametrize("way", WAYS)
def test_own_session(host, way):
    variables, options = WAYS[way]
    seen = look(host, variables, options)
    assert "sessions" in seen, seen
    own = [s for s in seen["sessions"] if s["is_self"]]
    assert [s["user"] for s in own] == [variables.get("ansible_user", "root")], seen["self_known_by"]
    assert seen["self_known_by"] and "self" in own[0]["protected_because"]


def test_not_root_says_what_it_cannot_see(host, people):
    people.login("secret", "carol", "sleep 3333")
    people.login("other", "carol", "tmux", options=["-t"])
    people.await_screen("other", "carol@")
    seen = look(host, {"ansible_user": "alice"}, sample=1)
    assert any("not running as root" in sentence for sentence in seen["warnings"])
    (command,) = [s for s in seen["sessions"] if s["user"] == "carol" and s["kind"] == "exec"]
    assert command["idle"] is None and command["idle_signal"] == "none" and not command["stale"]


def test_hidepid(host):
    host.ssh("mount -o remount,hidepid=2 /proc")
    try:
        seen = look(host, {"ansible_user": "alice"})
        all_of_it = look(host, {})
    finally:
        host.ssh("mount -o remount,hidepid=0 /proc")
    assert any("hidepid" in sentence for sentence in seen["warnings"])
    assert not any("hidepid" in sentence for sentence in all_of_it.get("warnings", []))
    assert any(s["is_self"] for s in all_of_it["sessions"])


def test_a_tmux_that_hangs_and_one_whose_socket_is_a_lie(host, people):
    people.login("hang", "dave", "tmux -L hang new -s hang", options=["-t"])
    people.login("lie", "dave", "tmux -L lie new -s lie", options=["-t"])
    people.await_screen("hang", "dave@")
    people.await_screen("lie", "dave@")
    pids = {
        b["socket"]: b["pid"]
        for s in host.module("session_info", sample=0)["sessions"]
        for b in s["work"]["multiplexers"]
    }
    (hang,) = [pid for path, pid in pids.items() if path.endswith("/hang")]
    host.ssh("cd /tmp/tmux-$(id -u) && mv lie was && ln -s /run/dbus/system_bus_socket lie", user="dave")
    host.ssh(f"kill -STOP {hang}")
    try:
        seen = host.module("session_info", sample=0)
    finally:
        host.ssh(f"kill -CONT {hang}")
    boxes = {
        b["socket"].rsplit("/", 1)[1]: b for s in seen["sessions"] for b in s["work"]["multiplexers"] if b["socket"]
    }
    assert boxes["hang"]["attached"] is None and boxes["lie"]["attached"] is None
    assert sum("does not answer" in sentence for sentence in seen["warnings"]) == 2
    protected = [s for s in seen["sessions"] if s["user"] == "dave" and "multiplexers" in s["protected_because"]]
    assert len(protected) == 2


def test_containers_are_not_counted(host, people):
    host.ssh("test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
    host.ssh("cat /root/.ssh/id_ed25519.pub >> /home/erin/.ssh/authorized_keys")
    host.ssh("sed -i '/^Match/,$d' /etc/ssh/sshd_config.d/*.conf 2>/dev/null; true")
    people.login("inside", "admin", "sudo unshare --fork --pid --mount-proc sleep 4444", options=["-tt"])
    people.inside("container", "unshare", "--fork", "--pid", "--mount-proc", "/usr/sbin/sshd", "-D", "-p", "2222")
    host.ssh("for i in 1 2 3 4 5 6 7 8 9; do ssh-keyscan -p 2222 127.0.0.1 >/dev/null 2>&1 && break; sleep 0.3; done")
    people.inside("guest", "ssh", "-o", "StrictHostKeyChecking=no", "-p", "2222", "erin@127.0.0.1", "sleep 4445")
    host.ssh("for i in 1 2 3 4 5 6 7 8 9; do pgrep -f 'sleep 4445' >/dev/null && break; sleep 0.3; done")
    seen = host.module("session_info", sample=0)
    assert not [s for s in seen["sessions"] if s["user"] == "erin"]
    (session,) = [s for s in seen["sessions"] if s["user"] == "admin" and s["kind"] == "terminal"]
    assert "unshare" in [p["command"] for p in session["processes"]]
    assert "sleep" not in [p["command"] for p in session["processes"]]
    assert any("another PID namespace" in sentence for sentence in seen["warnings"])


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"idle_over": "soon"}, "write whole seconds or, for example, 90s"),
        ({"remote_hosts": ["10.0.0.0/33"]}, "write for example 192.0.2.7"),
        ({"sample": -1}, "from 0 to 300"),
        ({"unresponsive": True}, "set sample, too"),
        ({"kinds": ["tty"]}, "kinds"),
    ],
)
def test_bad_input(host, args, sentence):
    assert sentence in host.module("session_info", **args)["msg"]


def test_filters_and_exclusions(host, people):
    people.login("bobs", "bob")
    people.await_screen("bobs", "$")
    (bob,) = host.module("session_info", users=["bob"], kinds=["terminal"], age_over=0)["sessions"]
    assert bob["stale_because"] == ["age"] and not bob["protected"]
    tty, address = bob["ttys"][0], bob["remote_host"]
    for one in ({"groups": ["bob"]}, {"ttys": ["/dev/" + tty]}, {"ids": [bob["id"]]}, {"ids": [bob["logind_id"]]}):
        found = host.module("session_info", **one)
        assert [s["id"] for s in found["sessions"]] == [bob["id"]] and found["summary"]["total"] == 1
    near = host.module("session_info", remote_hosts=[address + "/24"], users=["bob"])
    far = host.module("session_info", remote_hosts=["2001:db8::/32"])
    assert len(near["sessions"]) == 1 and far["sessions"] == []
    kept = host.module("session_info", users=["bob"], age_over=0, exclude_groups=["bob"])["sessions"][0]
    assert kept["stale"] and kept["protected_because"] == ["excluded"]


def test_the_documented_examples_do_what_they_say(host, people):
    """As they stand in the documentation: a table of who is on, and those idle for long with nothing open."""
    text = (CHECKOUT / "plugins/modules/session_info.py").read_text()
    tasks = yaml.safe_load(text.split('EXAMPLES = r"""')[1].split('"""')[0])
    people.login("reader", "bob")
    people.login("writer", "bob")
    people.await_screen("reader", "$")
    people.await_screen("writer", "$")
    people.type("writer", "vim notes.txt", "Enter")
    people.await_screen("writer", "~")
    # Two hours, for a test.
    done = playbook([host], [{"hosts": "all", "gather_facts": False, "tasks": _with_idle_over(tasks, 0)}])
    rows = re.findall(r"bob +terminal +\S+ +pts/\d+ +\d+ +(\w+)", done.stdout)
    assert "bash" in rows and "vim" in rows, done.stdout
    now = {s["id"]: s["work"]["editors"] for s in host.module("session_info", users=["bob"])["sessions"]}
    named = {one: editors for one, editors in now.items() if f'"{one}"' in done.stdout}
    assert [] in named.values() and not any(named.values()), done.stdout


def _with_idle_over(tasks, seconds):
    for task in tasks:
        arguments = task.get("sessionops.policy.session_info")
        if arguments and "idle_over" in arguments:
            arguments["idle_over"] = seconds
    return tasks
