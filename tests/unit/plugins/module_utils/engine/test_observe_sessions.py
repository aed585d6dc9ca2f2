# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole observations of recorded hosts, and of the same hosts mutated."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import Clock, plain
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import Answer
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.draft import Roots, parse_title
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.procfs import Proc
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.sessions import observe
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.sockets import Connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, os.path.dirname(__file__))
from proc_tree import lay, load

USERS = {"admin": 1000, "alice": 1001, "bob": 1002, "carol": 1003, "dave": 1004, "erin": 1005, "root": 0, "sshd": 100}


def roots(recording, folder, run=None, connections=None):
    proc, utmp = lay(recording, folder)
    names = {uid: name for name, uid in USERS.items()}
    return Roots(
        proc=str(proc),
        dev=os.path.join(folder, "dev"),
        programs=os.path.join(folder, "nothing"),
        utmp=str(utmp),
        bus=os.path.join(folder, "no-bus"),
        screen=os.path.join(folder, "screen"),
        clock=lambda: Clock(1_800_000_000.0, recording["boot"]),
        sleep=lambda seconds: None,
        connections=lambda: connections or {},
        run=run or (lambda asked: {name: Answer(1) for name in asked}),
        user_name=names.get,
        user_ids=lambda name: (USERS[name], USERS[name]) if name in USERS else None,
        own_pid=lambda: recording["own"],
        euid=lambda: 0,
    )


def look(monkeypatch, recording, tmp_path, **more):
    # The folders of a recorded tree all belong to whoever runs the test.
    monkeypatch.setattr(Proc, "uid", lambda self, pid: recording["uids"].get(str(pid)))
    return observe(roots(recording, str(tmp_path), **more), want_leftovers=True)


@pytest.mark.parametrize("name", ["bookworm", "trixie"])
def test_a_recorded_host(monkeypatch, tmp_path, name):
    seen = look(monkeypatch, load(name), tmp_path)
    people = sorted((s.user, s.kind, len(s.channels)) for s in seen.sessions)
    assert people == [
        ("admin", "terminal", 1),
        ("alice", "terminal", 1),
        ("alice", "terminal", 1),
        ("bob", "exec", 1),
        ("bob", "sftp", 1),
        ("carol", "terminal", 3),
        ("dave", "terminal", 1),
        ("dave", "terminal", 1),
    ]
    assert len({s.id for s in seen.sessions}) == 8 and all(s.id.startswith(seen.boot_id) for s in seen.sessions)
    (bob,) = [s for s in seen.sessions if s.kind == "exec"]
    # No terminal, one look: nobody can know, so nobody says.
    assert bob.idle is None and bob.idle_signal == "none" and bob.work.foreground == ("sleep",)
    (admin,) = [s for s in seen.sessions if s.user == "admin"]
    assert "su" in {p.command for p in admin.processes} and len({p.uid for p in admin.processes}) >= 3
    (editor,) = [s for s in seen.sessions if s.work.editors]
    assert editor.work.editors[0].files == ("/home/alice/notes.txt",)
    jobs = [job for s in seen.sessions for job in s.work.jobs]
    assert sorted(job.stopped for job in jobs) == [False, True]


def test_utmp_is_merged_and_contradicted(monkeypatch, tmp_path):
    seen = look(monkeypatch, load("bookworm"), tmp_path)
    assert all("utmp" in s.seen_by for s in seen.sessions if s.kind == "terminal")
    assert any("a terminal inside the session of admin" in sentence for sentence in seen.disagreements)


def test_multiplexers_without_logind_are_left_over(monkeypatch, tmp_path):
    """No scope says which session they came from, so they are shown, and not as anybody's work."""
    seen = look(monkeypatch, load("trixie"), tmp_path)
    assert [x.user for x in seen.leftovers if x.kind == "detached_multiplexer"] == ["dave", "dave"]


def sleeper(recording):
    """The pid of the one ``sleep 5000``, as text."""
    (pid,) = [
        path.split("/")[0]
        for path, text in recording["files"].items()
        if path.endswith("/cmdline") and text.startswith("sleep\x005000")
    ]
    return pid


def test_a_container_is_not_counted(monkeypatch, tmp_path):
    recording = load("trixie")
    victim = sleeper(recording)
    recording["links"][f"{victim}/ns/pid"] = "pid:[1]"
    seen = look(monkeypatch, recording, tmp_path)
    assert int(victim) not in {p.pid for s in seen.sessions for p in s.processes}
    assert any("another PID namespace" in sentence for sentence in seen.warnings)


def test_a_user_who_calls_a_process_sshd_is_no_session(monkeypatch, tmp_path):
    recording = load("bookworm")
    pid = sleeper(recording)
    line = recording["files"][f"{pid}/stat"]
    recording["files"][f"{pid}/stat"] = f"{pid} (sshd) S 1 {pid} {pid} " + line.split(") ", 1)[1].split(" ", 4)[4]
    recording["files"][f"{pid}/cmdline"] = "sshd: root [priv]\0"
    before = len(look(monkeypatch, load("bookworm"), tmp_path / "a").sessions)
    assert len(look(monkeypatch, recording, tmp_path / "b").sessions) == before


def test_processes_that_vanish_between_two_reads(monkeypatch, tmp_path):
    """The table still has them when everything else of them is gone: each is left out or told by what was read."""
    recording = load("bookworm")
    read_table, ended = Proc.processes, set()

    def then_they_end(self):
        found = read_table(self)
        for pid in sorted(found)[::5]:
            ended.add(pid)
            shutil.rmtree(os.path.join(self.root, str(pid)))
        return found

    monkeypatch.setattr(Proc, "processes", then_they_end)
    seen = look(monkeypatch, recording, tmp_path)
    leaders = {session.leader.pid for session in seen.sessions}
    assert leaders and len(leaders) < 8 and not leaders & ended
    json.dumps(plain(seen))


def test_what_ends_between_two_looks_is_no_work(monkeypatch, tmp_path):
    recording = load("trixie")
    monkeypatch.setattr(Proc, "uid", lambda self, pid: recording["uids"].get(str(pid)))
    there = roots(recording, str(tmp_path))
    (vim,) = [item.pid for s in observe(there).sessions for item in s.work.editors]
    ending = dataclasses.replace(there, sleep=lambda seconds: shutil.rmtree(os.path.join(there.proc, str(vim))))
    assert [item for s in observe(ending, sample=1).sessions for item in s.work.editors] == []


def test_thousands_of_processes_are_each_counted_once(monkeypatch, tmp_path):
    recording = load("trixie")
    shell = sleeper(recording)
    fields = recording["files"][f"{shell}/stat"].split(") ", 1)[1].split(" ")
    for pid in range(100_000, 103_000):
        fields[1] = shell if pid == 100_000 else str(pid - 1)  # one below the other: deeper than any recursion goes
        recording["files"][f"{pid}/stat"] = f"{pid} (sleep) {' '.join(fields)}"
        recording["links"][f"{pid}/ns/pid"] = recording["links"][f"{shell}/ns/pid"]
    seen = look(monkeypatch, recording, tmp_path)
    pids = [process.pid for session in seen.sessions for process in session.processes]
    assert len(pids) == len(set(pids)) and set(range(100_000, 103_000)) <= set(pids)
    assert len(seen.sessions) == 8


def test_without_a_passwd_entry(monkeypatch, tmp_path):
    recording = load("trixie")
    monkeypatch.setattr(Proc, "uid", lambda self, pid: recording["uids"].get(str(pid)))
    there = roots(recording, str(tmp_path))
    seen = observe(dataclasses.replace(there, user_name=lambda uid: None, user_ids=lambda name: None))
    assert len(seen.sessions) == 8 and all(s.user for s in seen.sessions)


def test_connection_is_the_first_tcp_socket(monkeypatch, tmp_path):
    recording = load("trixie")
    inodes = [int(t[8:-1]) for t in recording["links"].values() if t.startswith("socket:[")]
    wire = Connection(22, "2001:db8::7", 50022, 0, 5000, 9000, 10, 10)
    seen = look(monkeypatch, recording, tmp_path, connections=dict.fromkeys(inodes, wire))
    assert {(s.remote_host, s.remote_port, s.peer_unresponsive) for s in seen.sessions} == {
        ("2001:db8::7", 50022, False)
    }
    (transfer,) = [s for s in seen.sessions if s.kind == "sftp"]
    assert (transfer.idle, transfer.idle_signal) == (5, "socket")


BYTES = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@settings(
    phases=(Phase.explicit, Phase.generate),  # shrinking a whole host takes for ever
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_tree_breaks_it(monkeypatch, data):
    """Files vanish, are cut, overwritten with anything; links point anywhere. It never raises and stays on one line."""
    recording = load(data.draw(st.sampled_from(["bookworm", "trixie"])))
    for kind in ("files", "links"):
        paths = sorted(recording[kind])
        for path in data.draw(st.lists(st.sampled_from(paths), max_size=25, unique=True)):
            how = data.draw(st.sampled_from(["vanish", "cut", "replace", "append"]))
            text = recording[kind][path]
            if how == "vanish":
                del recording[kind][path]
            else:
                noise = data.draw(BYTES)
                at = data.draw(st.integers(0, len(text)))
                text = {
                    "cut": text[:at],
                    "replace": text[:at] + noise + text[at + len(noise) :],
                    "append": text + noise,
                }[how]
                if kind == "links":
                    text = text.replace("\0", "") or "x"
                recording[kind][path] = text
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(Proc, "uid", lambda self, pid: recording["uids"].get(str(pid)))
        seen = observe(roots(recording, folder), want_leftovers=True)
    json.dumps(plain(seen)).encode()
    for session in seen.sessions:
        assert (session.idle is None) == (session.idle_signal == "none")
        for process in session.processes:
            assert process.command.isprintable()
    assert all(text.isprintable() for text in (*seen.warnings, *seen.disagreements))


@pytest.mark.parametrize(
    ("title", "parsed"),
    [
        ("sshd: alice [priv]", ("alice", "", "priv")),
        ("sshd-session: alice@pts/0,pts/12", ("alice", "pts/0,pts/12", "")),
        ("sshd: alice@notty", ("alice", "notty", "")),
        ("sshd: EXAMPLE\\al ice@example.org@pts/3", ("EXAMPLE\\al ice@example.org", "pts/3", "")),
        ("sshd: alice", ("alice", "", "")),
        ("sshd: [accepted]", ("[accepted]", "", "")),
        ("sshd-auth: bob [net]", ("bob", "", "net")),
        ("sshd: bob@internal-sftp", ("bob", "internal-sftp", "")),
    ],
)
def test_titles(title, parsed):
    assert parse_title(title) == parsed


@pytest.mark.parametrize(
    "title", ["", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "/usr/sbin/sshd", "vim"]
)
def test_no_titles(title):
    assert parse_title(title) is None


@given(st.text())
def test_any_title(title):
    parse_title(title)
    parse_title("sshd: " + title)
