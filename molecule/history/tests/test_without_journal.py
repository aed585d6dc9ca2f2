# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without systemd: plain log files, wtmp, and lines that anybody can have written."""

from __future__ import annotations

import os
import signal

from realhosts import Person, until

CONFIG = """LogLevel VERBOSE
Match User bob
  ClientAliveInterval 2
  ClientAliveCountMax 1
Match User dave
  ChannelTimeout none
"""


def test_plain_files_are_read_and_not_trusted(boot):
    machine = boot("bookworm-sysvinit")
    machine.write("/etc/ssh/sshd_config.d/00-history.conf", CONFIG)
    # By default busybox's syslogd keeps its lines in memory.
    machine.exec(
        "echo SYSLOG_OPTS= > /etc/default/busybox-syslogd; service busybox-syslogd restart; service ssh reload"
    )
    with Person(machine, "alice") as leaving, Person(machine, "bob") as frozen, Person(machine, "carol") as cut:
        for person in (leaving, frozen, cut):
            person.at_prompt()
        frozen.freeze()
        leaving.type("exit")
        os.kill(cut.pid, signal.SIGKILL)
        machine.ssh("true", user="dave", check=False)
        machine.ssh("logger -p auth.info -t sshd 'Accepted publickey for root from 6.6.6.6 port 6 ssh2'", user="erin")
        assert until(lambda: not machine.connections("bob"), 60)
    found = machine.module("session_history_info", since="1h")
    causes = {session["user"]: session["ended_by"] for session in found["sessions"] if session["user"]}
    assert [causes[user] for user in ("bob", "carol")] == ["unresponsive_peer", "client_closed"], found
    # The log has whole seconds, and so it does not say whether the shell or the client was first.
    (left,) = [session for session in found["sessions"] if session["user"] == "alice"]
    assert left["ended_by"] == "unknown" and left["could_be"] == ["exit", "client_closed"]
    assert "policy_lockout" in found["summary"]
    sources = {source["name"]: source for source in found["sources"]}
    assert sources["journal"]["lines"] is None and "journalctl" in sources["journal"]["why"]
    assert sources["files"]["lines"] and sources["wtmp"]["lines"]
    assert not any(session["evidence"]["trusted"] for session in found["sessions"] if session["evidence"])
    assert any("may be forged" in warning for warning in found["warnings"]), found
