# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.sessionops.policy.plugins.module_utils._engine.table import failures, findings_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GOOD = {
    "clock": "unresponsive peer",
    "setting": "client_alive_interval",
    "wanted": 300,
    "in_force": 300,
    "compliant": True,
    "source": "/etc/ssh/sshd_config.d/00-session-policy.conf:5",
    "bound": 1200,
}
OVERRIDDEN = {
    "clock": "idle shell",
    "setting": "idle_timeout",
    "shell": "bash",
    "wanted": 900,
    "in_force": None,
    "compliant": False,
    "source": "/etc/profile:3",
    "overridden_by": "/etc/profile:3 readonly TMOUT=0",
    "remedy": "remove /etc/profile:3",
}
IMPOSSIBLE = {
    "clock": "idle session",
    "setting": "idle_timeout",
    "wanted": 600,
    "in_force": None,
    "compliant": None,
    "source": None,
    "why": "logind knows no terminal of an ssh session",
}
STALE = {"clock": "running configuration", "setting": "reload", "compliant": False, "why": "sshd has not read it"}


def test_a_table_a_person_can_read():
    assert findings_table([GOOD, OVERRIDDEN, IMPOSSIBLE, STALE], 76) == [
        "  CLOCK                    WANTED  IN FORCE  WHERE FROM",
        "  unresponsive peer, cut after 1200 s",
        "    client_alive_interval  300     300       .../00-session-policy.conf:5",
        "  idle shell",
        "!   bash                   900     -         /etc/profile:3",
        "  idle session",
        "-   idle_timeout           600     -",
        "- idle session, idle_timeout: not enforced here; logind knows no terminal of",
        "  an ssh session.",
    ]


def test_failures_name_what_overrides():
    assert failures([GOOD, OVERRIDDEN, IMPOSSIBLE, STALE]) == [
        "idle shell, bash: wanted 900, in force is nothing; overridden by /etc/profile:3 readonly TMOUT=0; "
        "remove /etc/profile:3.",
        "running configuration, reload: sshd has not read it.",
    ]


def test_a_clock_stands_once():
    lines = findings_table([GOOD, OVERRIDDEN, {**GOOD, "user": "alice", "wanted": None, "in_force": None}])
    assert [line[:10] for line in lines].count("  unrespon") == 1
    assert lines[3].startswith("    alice, exempt")


def test_nothing_to_say():
    assert findings_table([]) == []
    assert failures([]) == []


words = st.text(st.characters(categories=["L", "N"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text of a process builds hypothesis's tables
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "clock": st.sampled_from(["idle shell", "idle session", "limit"]),
                "setting": st.sampled_from(["idle_timeout", "unused_connection_timeout", "max_startups"]),
                "wanted": st.sampled_from([None, 900, "10:30:100"]),
                "in_force": st.none() | st.integers(0, 10**5),
                "compliant": st.sampled_from([True, False, None]),
                "source": st.none() | st.text("abc/.", max_size=90),
                "why": st.none() | st.lists(words, max_size=12).map(" ".join),
            }
        )
    )
)
def test_no_line_is_wider_than_a_terminal(findings):
    assert all(len(line) <= 80 for line in findings_table(findings, 80))
