# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""logind.conf with its drop-ins, D-Bus answers, and pam_limits."""

from __future__ import annotations

import json

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import limits, logind
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import Answer
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree
from hypothesis import given
from hypothesis import strategies as st


def put(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def bus(**values):
    kinds = {bool: "b", int: "t", str: "s", list: "as"}
    data = {name: {"type": kinds[type(v)], "data": v} for name, v in values.items()}
    return Answer(0, json.dumps({"type": "a{sv}", "data": [data]}))


IDLE = {"IdleAction": "ignore", "IdleActionUSec": 1800 * 10**6, "KillUserProcesses": False}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600", 600), ("10min", 600), ("1h 30min", 5400), ("1h30m", 5400), ("infinity", None), ("500ms", 0.5),
     ("1M", 2629800), ("2 weeks", 1209600), ("0", 0)],
)  # fmt: skip
def test_parse_span(text, seconds):
    assert logind.parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 lightyears", "-5"])
def test_no_span(text):
    with pytest.raises(ValueError, match="time span"):
        logind.parse_span(text)


def test_order_of_files_and_masks(tmp_path):
    put(tmp_path, "etc/systemd/logind.conf", "[Login]\nIdleActionSec=1\nKillUserProcesses=yes\n")
    put(tmp_path, "usr/lib/systemd/logind.conf.d/50-vendor.conf", "[Login]\nIdleActionSec=50\nIdleAction=lock\n")
    put(tmp_path, "etc/systemd/logind.conf.d/40-early.conf", "[Login]\nIdleActionSec=40\n")
    put(tmp_path, "run/systemd/logind.conf.d/60-run.conf", "[Login]\nIdleAction=suspend\n")
    put(tmp_path, "etc/systemd/logind.conf.d/60-run.conf", "[Other]\nIdleAction=poweroff\n[Login]\n; IdleAction=halt\n")
    found = logind.read_disk(Tree(str(tmp_path)))
    assert found["IdleActionUSec"]["value"] == 50
    assert found["IdleActionUSec"]["source"] == "/usr/lib/systemd/logind.conf.d/50-vendor.conf:2"
    assert [o["value"] for o in found["IdleActionUSec"]["overridden"]] == [40, 1]
    # 60-run.conf of /etc hides the one of /run and says nothing for [Login] itself.
    assert found["IdleAction"]["value"] == "lock"
    assert found["KillUserProcesses"]["value"] is True


def test_empty_assignment_resets(tmp_path):
    put(tmp_path, "etc/systemd/logind.conf.d/1.conf", "[Login]\nStopIdleSessionSec=600\n")
    put(tmp_path, "etc/systemd/logind.conf.d/2.conf", "[Login]\nStopIdleSessionSec=\n")
    assert logind.read_disk(Tree(str(tmp_path))) == {}


def observe(root, answer, version=252, features=("+UTMP",), utmp=True, unit="CanReload=no\n"):
    answers = {"logind.bus": answer, "logind.unit": Answer(0, unit)}
    return logind.observe_logind(Tree(str(root)), version, features, utmp, answers)


def test_current_by_comparison(tmp_path):
    put(tmp_path, "etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=no\n")
    assert observe(tmp_path, bus(**IDLE, StopIdleSessionUSec=2**64 - 1)).current is True
    put(
        tmp_path,
        "etc/systemd/logind.conf.d/99-session-policy.conf",
        "[Login]\nStopIdleSessionSec=600\nIdleActionSec=600\n",
    )
    seen = observe(tmp_path, bus(**IDLE, StopIdleSessionUSec=2**64 - 1))
    assert seen.current is False
    assert seen.on_disk["StopIdleSessionUSec"]["ours"] is True
    assert (
        observe(tmp_path, bus(**{**IDLE, "IdleActionUSec": 600 * 10**6}, StopIdleSessionUSec=600 * 10**6)).current
        is True
    )


def test_removed_drop_in_that_is_still_in_force(tmp_path):
    put(tmp_path, "etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=no\n")
    assert observe(tmp_path, bus(**IDLE, StopIdleSessionUSec=600 * 10**6)).current is False
    assert observe(tmp_path, bus(**{**IDLE, "KillUserProcesses": True})).current is False


def test_a_key_that_this_systemd_does_not_know(tmp_path):
    put(tmp_path, "etc/systemd/logind.conf.d/a.conf", "[Login]\nStopIdleSessionSec=600\n")
    seen = observe(tmp_path, bus(**IDLE), version=247)
    assert (seen.can_stop_idle_session, seen.current) == (False, True)


@pytest.mark.parametrize(
    ("features", "utmp", "sees"),
    [(["+PAM", "+UTMP"], True, True), (["+UTMP"], False, False), (["-UTMP"], True, False), ([], True, None)],
)
def test_sees_ssh_ttys(tmp_path, features, utmp, sees):
    assert observe(tmp_path, bus(**IDLE), features=features, utmp=utmp).sees_ssh_ttys is sees


def test_reload(tmp_path):
    assert observe(tmp_path, bus(**IDLE), unit="MainPID=1\nCanReload=yes\n").reload == [
        ["systemctl", "reload", "systemd-logind.service"]
    ]
    assert observe(tmp_path, bus(**IDLE)).reload[0][:3] == ["systemctl", "kill", "--signal=HUP"]


def test_not_running(tmp_path):
    put(tmp_path, "etc/systemd/logind.conf.d/a.conf", "[Login]\nIdleAction=lock\n")
    seen = observe(tmp_path, Answer(1, "", "Call failed: The name is not activatable"))
    assert (seen.running, seen.current, seen.reload) == (False, None, [])
    assert seen.on_disk["IdleAction"]["value"] == "lock"


@given(st.text(max_size=200))
def test_parsers_never_raise(text):
    logind.parse_bus(text)
    logind.parse_assignments(text.split("\n"))
    for key in ("IdleActionSec", "KillUserProcesses", "KillOnlyUsers", "IdleAction"):
        logind.normal(key, text)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["data", "IdleActionUSec"]), s),
    )
)
def test_odd_json_is_no_answer(value):
    assert isinstance(logind.parse_bus(json.dumps(value)), dict)


@given(st.binary(max_size=200))
def test_files_never_raise(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("etc")
    (root / "etc/systemd").mkdir(parents=True)
    (root / "etc/systemd/logind.conf").write_bytes(b"[Login]\n" + data)
    (root / "etc/security").mkdir()
    (root / "etc/security/limits.conf").write_bytes(data)
    (root / "etc/pam.d").mkdir()
    (root / "etc/pam.d/sshd").write_bytes(b"session include " + data)
    logind.read_disk(Tree(str(root)))
    limits.observe_limits(Tree(str(root)))


# --- pam_limits -------------------------------------------------------------------------------------------------


def test_the_last_line_for_everybody_wins(tmp_path):
    put(tmp_path, "etc/security/limits.conf", "*  hard maxlogins 4\n@staff hard maxlogins 1\n# * hard maxlogins 2\n")
    put(tmp_path, "etc/security/limits.d/10-a.conf", "* - maxlogins 5\n* hard nofile 7\n")
    put(tmp_path, "etc/security/limits.d/99-session-policy.conf", "* hard maxlogins 10\n")
    found = limits.read_maxlogins(Tree(str(tmp_path)))
    assert (found["value"], found["source"], found["ours"]) == (
        10,
        "/etc/security/limits.d/99-session-policy.conf:1",
        True,
    )
    assert [o["value"] for o in found["overridden"]] == [5, 4]


def test_unlimited(tmp_path):
    put(tmp_path, "etc/security/limits.d/a.conf", "* hard maxlogins unlimited\n")
    assert limits.read_maxlogins(Tree(str(tmp_path)))["value"] is None


@pytest.mark.parametrize(
    ("files", "active"),
    [
        ({}, None),
        ({"sshd": "session required pam_limits.so\n"}, True),
        ({"sshd": "# session required pam_limits.so\n"}, False),
        ({"sshd": "@include common-session\n", "common-session": "session required pam_limits.so\n"}, True),
        (
            {
                "sshd": "session include a\n",
                "a": "-session substack b\n",
                "b": "session [success=1 default=ignore] pam_limits.so\n",
            },
            True,
        ),
        ({"sshd": "auth include a\n", "a": "session required pam_limits.so\n"}, False),
        ({"sshd": "session include sshd\n"}, False),
        ({"sshd": "session required pam_unix.so\\\n pam_limits.so\n"}, True),
    ],
)
def test_pam_limits(tmp_path, files, active):
    for name, text in files.items():
        put(tmp_path, f"etc/pam.d/{name}", text)
    assert limits.pam_limits_active(Tree(str(tmp_path))) is active
