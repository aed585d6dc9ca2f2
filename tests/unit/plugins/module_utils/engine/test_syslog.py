# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line a deed: what reaches the journal's socket, and that no text of a user's becomes a field of it."""

from __future__ import annotations

import socket
import struct

from ansible_collections.sessionops.policy.plugins.module_utils._engine import syslog
from hypothesis import given
from hypothesis import strategies as st


def fields(entry: bytes) -> dict[str, str]:
    found = {}
    while entry:
        name, rest = entry.split(b"\n", 1)
        (size,) = struct.unpack("<Q", rest[:8])
        found[name.decode()] = rest[8 : 8 + size].decode()
        assert rest[8 + size : 9 + size] == b"\n"
        entry = rest[9 + size :]
    return found


def test_a_line_names_each_known_fact():
    facts = {"user": "alice", "command": 'say "hi"', "tty": None, "pid": 7}
    assert syslog.line("ended session", facts) == 'ended session user=alice command="say \\"hi\\"" pid=7'


def test_the_journal_gets_a_field_for_each_fact(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        assert syslog.log("session-reaper", syslog.NOTICE, "ended session", {"user": "alice"}, path)
        said = fields(journal.recv(65536))
    assert said["MESSAGE"] == "ended session user=alice"
    assert said["SYSLOG_IDENTIFIER"] == "session-reaper"
    assert said["PRIORITY"] == "5"
    assert said["SESSIONOPS_USER"] == "alice"


@given(st.text(), st.text())
def test_no_text_becomes_another_field_or_another_line(message, value):
    said = fields(syslog.datagram("x", 5, message, {"user": value}))
    assert {name for name in said if name.startswith("SESSIONOPS_")} == {"SESSIONOPS_USER"}
    assert said["MESSAGE"].isprintable()


def test_where_nothing_takes_the_line_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(syslog.os.path, "exists", lambda path: False)
    assert not syslog.log("session-reaper", syslog.NOTICE, "ended session", {}, str(tmp_path / "none"))
