# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scanner's content matches, on trees of configuration files."""

from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine import platforms
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.scanner import (
    observe_scanner,
    scanner_accepts,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree

MAIN = "/etc/ssh/sshd_config"
TYPESET = "  fi\ntypeset -xr TMOUT=900\n"
THREE = "  TMOUT=900\nreadonly TMOUT\nexport TMOUT\n"


def look(folder, release, files):
    for path, text in files.items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    platform = platforms.find_platform(release.partition(":")[0], [])
    return observe_scanner(Tree(str(folder)), platform, release, MAIN)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("ClientAliveInterval 300", [300]), ("  clientaliveinterval\t300  # why", [300]),
        ("ClientAliveInterval=300", []), ('ClientAliveInterval "300"', ['"300"']), ("ClientAliveInterval 5m", ["5m"]),
        ("#ClientAliveInterval 300", []), ("XClientAliveInterval 300", []),
        ("ClientAliveInterval 300\nMatch User x\n  ClientAliveInterval 0", [300, 0]),
    ],
)  # fmt: skip
def test_lines_of_sshd_are_compared_as_text(tmp_path, line, values):
    seen = look(tmp_path, "debian:12", {MAIN: line + "\n"})["client_alive_interval"]
    assert [hit["value"] for hit in seen] == values


@pytest.mark.parametrize(
    ("release", "reads"), [("debian:13", False), ("rhel:8", False), ("ubuntu:24", True), ("rhel:9", True)]
)
def test_drop_ins_count_where_the_content_reads_them(tmp_path, release, reads):
    seen = look(tmp_path, release, {f"{MAIN}.d/00-x.conf": "MaxSessions 10\n", MAIN: ""})["max_sessions"]
    assert bool(seen) is reads


@pytest.mark.parametrize(
    ("release", "text", "values"),
    [
        ("debian:12", TYPESET, [900]), ("debian:12", THREE, []), ("debian:12", " typeset -xr TMOUT=900\n", []),
        ("debian:12", "declare -xr TMOUT=900\n", [900]), ("rhel:9", TYPESET, [900]),
        ("ubuntu:22", THREE, [900]), ("ubuntu:22", TYPESET, []), ("sles:15", THREE, [900]),
        ("ubuntu:22", "TMOUT=900; readonly TMOUT; export TMOUT\n", []), ("ubuntu:22", "TMOUT=900\nexport TMOUT\n", []),
    ],
)  # fmt: skip
def test_each_distribution_wants_its_own_form_of_tmout(tmp_path, release, text, values):
    seen = look(tmp_path, release, {"/etc/profile.d/00-session-policy.sh": text})["idle_timeout.shell"]
    assert [hit["value"] for hit in seen] == values


def test_logind_and_limits(tmp_path):
    files = {
        "/etc/systemd/logind.conf": "[Login]\nStopIdleSessionSec=600\n",
        "/etc/systemd/logind.conf.d/x.conf": "[Login]\nStopIdleSessionSec=15min\n",
        "/etc/security/limits.d/x.conf": "* soft maxlogins 3\n*\thard  maxlogins 10\nbob hard maxlogins 1\n",
    }
    seen = look(tmp_path, "debian:12", files)
    assert seen["idle_timeout.logind"] == [{"source": "/etc/systemd/logind.conf:2", "value": 600}]
    assert seen["max_logins"] == [{"source": "/etc/security/limits.d/x.conf:2", "value": 10}]
    assert look(tmp_path, "rhel:9", files)["idle_timeout.logind"][0]["value"] == "15min"


@pytest.mark.parametrize(
    ("values", "accepted"), [([], False), ([300], True), ([300, 300], True), ([300, 0], False), (["300"], False)]
)
def test_every_match_counts(values, accepted):
    assert scanner_accepts([{"source": "x:1", "value": value} for value in values], 300) is accepted
