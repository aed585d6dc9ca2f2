# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the history is read: plain files and their rotations, wtmp, wtmpdb, and a journalctl that fails."""

from __future__ import annotations

import gzip
import lzma
import os
import sqlite3
import time

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import parse_moment
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_history import Query
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import (
    history_files,
    history_journal,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import Answer
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.history import (
    Places,
    in_force,
    observe,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.utmp import RECORD
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0


def no_journal(argv, limit):
    if argv:
        raise history_journal.NoJournal("journalctl cannot be run")
    yield b""


def sshd_says(text):
    return lambda commands: {"sshd": Answer(0, text)}


def session(began, ended, user="alice", pid=10, port=5, stamp=None):
    stamp = stamp or (lambda at: time.strftime("%b %e %H:%M:%S", time.localtime(at)))
    return "".join(
        f"{stamp(at)} host sshd[{pid}]: {text}\n"
        for at, text in (
            (began, f"Accepted publickey for {user} from 192.0.2.7 port {port} ssh2: ED25519 SHA256:x"),
            (began, f"pam_unix(sshd:session): session opened for user {user}(uid=1001) by (uid=0)"),
            (ended, f"Timeout, client not responding from user {user} 192.0.2.7 port {port}"),
            (ended, f"pam_unix(sshd:session): session closed for user {user}"),
        )
    )


def iso(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + ".250000+00:00"


def logs(root, name="auth.log", **files):
    folder = root / "var/log"
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, (text, written) in files.items():
        path = folder / (name + suffix)
        data = text.encode()
        data = (
            gzip.compress(data) if suffix.endswith(".gz") else lzma.compress(data) if suffix.endswith(".xz") else data
        )
        path.write_bytes(data)
        os.utime(path, (written, written))
    return root


def look(root, since=7200, **more):
    places = Places(str(root), now=lambda: NOW, stream=no_journal, run=sshd_says(""))
    return observe(places, Query(NOW - since, NOW, **more))


@pytest.mark.parametrize("stamp", [None, iso])
@pytest.mark.parametrize("name", ["auth.log", "secure", "messages"])
def test_a_log_and_its_rotations_in_either_form_of_time(tmp_path, name, stamp):
    files = {
        "": (session(NOW - 600, NOW - 300, pid=10, stamp=stamp), NOW - 300),
        ".1": (session(NOW - 6000, NOW - 3600, "bob", 11, 6, stamp), NOW - 3600),
        ".2.gz": (session(NOW - 7000, NOW - 6900, "carol", 12, 7, stamp), NOW - 6900),
        ".3.xz": (session(NOW - 90000, NOW - 80000, "dave", 13, 8, stamp), NOW - 80000),
        ".bak": (session(NOW - 600, NOW - 300, "erin", 14, 9, stamp), NOW),
    }
    seen = look(logs(tmp_path, name, **files))
    assert [(e.user, e.ended_by, e.duration) for e in seen.endings] == [
        ("alice", "unresponsive_peer", 300), ("bob", "unresponsive_peer", 2400), ("carol", "unresponsive_peer", 100),
    ]  # fmt: skip
    assert [e.evidence.trusted for e in seen.endings] == [False] * 3
    assert seen.endings[0].evidence.cursor.startswith(f"{tmp_path}/var/log/{name}:")
    assert "may be forged" in seen.warnings[0]
    sources = {source.name: source for source in seen.sources}
    assert sources["journal"].lines is None and sources["files"].lines == 12


def test_the_offset_of_a_line_leads_back_to_it(tmp_path):
    seen = look(logs(tmp_path, **{"": (session(NOW - 600, NOW - 300), NOW - 300)}))
    path, _colon, offset = seen.endings[0].evidence.cursor.rpartition(":")
    with open(path, "rb") as handle:
        handle.seek(int(offset))
        assert seen.endings[0].evidence.line in handle.readline().decode()


def test_a_line_at_new_year_belongs_to_the_year_before(tmp_path):
    new_year = time.mktime((2027, 1, 1, 0, 0, 0, 0, 0, -1))
    stamps = history_files.Stamps(new_year + 600)
    assert stamps.seconds("Dec 31 23:59:30") == new_year - 30
    assert stamps.seconds("Jan  1 00:00:05") == new_year + 5


def test_of_a_long_file_only_the_window_is_read(tmp_path, monkeypatch):
    text = "".join(session(NOW - 60 * n, NOW - 60 * n + 30, f"u{n}", 1000 + n, n) for n in range(3000, 0, -1))
    logs(tmp_path, **{"": (text, NOW)})
    parsed = []
    real = history_files.parse
    monkeypatch.setattr(history_files, "parse", lambda *args: parsed.append(1) or real(*args))
    seen = look(tmp_path, since=3600, limit=0)
    assert {e.user for e in seen.endings} == {f"u{n}" for n in range(1, 61)}
    assert len(parsed) < 3000 * 4 / 5


@given(st.binary(max_size=300))
def test_no_line_of_a_log_is_too_odd(data):
    history_files.parse(data.decode("utf-8", "replace"), "auth.log", 0, history_files.Stamps(NOW))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_entry_of_a_journal_is_too_odd(value):
    import json

    history_journal.parse(json.dumps({"__REALTIME_TIMESTAMP": "1", "MESSAGE": value, "_UID": value}).encode())
    history_journal.parse(json.dumps(value).encode())


def test_a_message_of_bytes_is_read():
    line = history_journal.parse(b'{"__REALTIME_TIMESTAMP": "1000000", "MESSAGE": [104, 105, 27], "_UID": "7"}')
    assert (line.at, line.message, line.uid) == (1.0, "hi\x1b", 7)


def record(kind, pid, tty, user, host, at):
    text = [field.encode() for field in (tty, "", user, host)]
    return RECORD.pack(kind, pid, *text, 0, 0, 0, int(at), int(at % 1 * 1e6), b"")


WTMP = b"".join(
    (
        record(2, 0, "~", "reboot", "6.1", NOW - 9000),
        record(7, 10, "pts/0", "alice", "192.0.2.7", NOW - 8000),
        record(8, 10, "pts/0", "", "", NOW - 600),
        record(7, 11, "pts/1", "bob", "192.0.2.8 via mosh [12]", NOW - 500),
        record(8, 11, "pts/1", "", "", NOW - 400),
        record(7, 12, "tty1", "carol", "", NOW - 300),
        record(7, 13, "pts/2", "carol", "tmux(9).%0", NOW - 290),
        record(1, 0, "~", "shutdown", "6.1", NOW - 200),
        record(2, 0, "~", "reboot", "6.1", NOW - 100),
        record(7, 14, "pts/0", "erin", "192.0.2.9", NOW - 50),
    )
)


def test_wtmp_alone(tmp_path):
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/wtmp").write_bytes(WTMP + b"cut off")
    seen = look(tmp_path)
    assert [(e.user, e.kind, e.ended_by, e.duration) for e in seen.endings] == [
        ("carol", "console", "shutdown", 200), ("bob", "mosh", "unknown", 100), ("alice", "terminal", "unknown", 7400),
    ]  # fmt: skip
    assert "no log of logins" in seen.warnings[0]


def test_wtmpdb_alone(tmp_path):
    folder = tmp_path / "var/lib/wtmpdb"
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "wtmp.db") as database:
        database.execute("CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, "
                         "Logout INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT")  # fmt: skip
        rows = [(3, "alice", NOW - 900, NOW - 600, "pts/0", "192.0.2.7"), (3, "bob", NOW - 90, None, "pts/1", None)]
        for kind, user, came, left, tty, host in rows:
            database.execute("insert into wtmp values (null, ?, ?, ?, ?, ?, ?, null)",
                             (kind, user, int(came * 1e6), left and int(left * 1e6), tty, host))  # fmt: skip
    seen = look(tmp_path)
    assert [(e.user, e.remote_host, e.ended_by, e.duration) for e in seen.endings] == [
        ("alice", "192.0.2.7", "unknown", 300)
    ]
    assert {source.name: source.lines for source in seen.sources}["wtmpdb"] == 2


def test_a_broken_wtmpdb_is_said(tmp_path):
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/wtmp.db").write_text("no database")
    assert {source.name: source.why for source in look(tmp_path).sources}["wtmpdb"] == "file is not a database"


def test_a_host_that_keeps_nothing(tmp_path):
    seen = look(tmp_path)
    assert seen.endings == () and "no log of logins" in seen.warnings[0]


@pytest.mark.parametrize(
    "argv, limit, why",
    [
        (["/nonexistent"], 5, "cannot be run"),
        (["sh", "-c", "echo x; echo no such file >&2; exit 1"], 5, "no such file"),
        (["sleep", "60"], 0.2, "was not done after"),
    ],
)
def test_a_journalctl_that_fails_is_a_sentence(argv, limit, why):
    with pytest.raises(history_journal.NoJournal, match=why):
        list(history_journal.stream(argv, limit))


def test_what_is_in_force(tmp_path):
    for path, text in (
        ("etc/profile", "# TMOUT=5\n"),
        ("etc/profile.d/a.sh", "typeset -xr TMOUT=900\n"),
        ("etc/bash.bashrc", "TMOUT=0\n"),
        ("usr/sbin/sshd", ""),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    said = "logingracetime 60\nchanneltimeout direct-tcpip=10 session:*=5m agent-connection=1\n"
    assert in_force(Places(str(tmp_path), run=sshd_says(said))) == (900, 300, 60)
    assert in_force(Places(str(tmp_path), run=sshd_says("channeltimeout none\nlogingracetime 0\n"))) == (
        900,
        None,
        None,
    )


@pytest.mark.parametrize(
    "text, at",
    [
        ("90m", NOW - 5400),
        ("0s", NOW),
        ("2026-01-31T08:15:00Z", 1769847300.0),
        ("2026-01-31T09:15:00+01:00", 1769847300.0),
        ("2026-01-31 08:15:00", 1769847300.0),
        ("2026-01-31", 1769817600.0),
    ],
)
def test_moments(text, at):
    assert parse_moment(text, NOW) == at


@pytest.mark.parametrize("text", ["yesterday", "", "24", "2026-13-01"])
def test_what_is_no_moment_is_a_sentence(text):
    if text == "24":
        assert parse_moment(text, NOW) == NOW - 24
        return
    with pytest.raises(ValueError, match="is no moment: write for example"):
        parse_moment(text, NOW)
