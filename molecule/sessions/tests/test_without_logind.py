# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without systemd: no logind, no session scopes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.parametrize("host", ["bookworm-sysvinit"], indirect=True, scope="module")


def test_sessions_without_logind(host, people):
    people.login("vim", "alice")
    people.login("exec", "bob", "sleep 5000")
    people.await_screen("vim", "$")
    people.type("vim", "nohup sleep 4990 & vim notes.txt", "Enter")
    people.await_screen("vim", "~")
    seen = host.module("session_info", gather_subset=["sessions", "leftovers", "limits"])
    (vim,) = [s for s in seen["sessions"] if s["user"] == "alice"]
    assert vim["kind"] == "terminal" and vim["seen_by"] == ["proc", "utmp"] and vim["logind_id"] is None
    assert vim["work"]["editors"][0]["files"] == ["/home/alice/notes.txt"] and len(vim["work"]["jobs"]) == 1
    (command,) = [s for s in seen["sessions"] if s["user"] == "bob"]
    assert command["kind"] == "exec" and command["class"] is None
    assert [s["user"] for s in seen["sessions"] if s["is_self"]] == ["root"]
    assert seen["limits"]["sessions_max"] is None and not seen.get("warnings")


def test_what_outlives_its_shell(host):
    host.ssh("nohup sleep 4991 >/dev/null 2>&1 </dev/null &", user="carol")
    found = host.module("session_info", gather_subset=["sessions", "leftovers"])["leftovers"]
    assert [(x["kind"], x["user"]) for x in found if x["command"] == "sleep"] == [("orphan_process", "carol")]


ASYNC = ["--background", "60", "--poll", "1"]


@pytest.mark.parametrize("options", [[], ASYNC], ids=["at once", "async"])
@pytest.mark.parametrize("target", ["root", "alice"])
def test_own_session_under_become(host, target, options):
    """sudo strips SSH_CONNECTION, an async task has lost its parents, and no cgroup names a session here."""
    admin = {"ansible_user": "admin", "ansible_become": True, "ansible_become_user": target, "ansible_pipelining": True}
    admin["ansible_shell_allow_world_readable_temp"] = True  # async needs a file, and alice may not read admin's
    seen = host.start("session_info", variables=admin, options=options, sample=0)()
    assert "sessions" in seen, seen
    assert [s["user"] for s in seen["sessions"] if s["is_self"]] == ["admin"], seen["self_known_by"]
