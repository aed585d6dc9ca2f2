# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd_config read as sshd reads it."""

from __future__ import annotations

import os

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import sshd_config
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.sshd_config import (
    canonical,
    global_settings,
    read_config,
    split_line,
    sshd_seconds,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MAIN = "/etc/ssh/sshd_config"


@pytest.fixture
def etc(tmp_path):
    folder = tmp_path / "etc/ssh/sshd_config.d"
    folder.mkdir(parents=True)
    return tmp_path / "etc/ssh"


def read(etc, version=None):
    return read_config(Tree(str(etc.parent.parent)), MAIN, version)


def winners(config):
    return {k: (v[0].value, v[0].source) for k, v in global_settings(config).items()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ClientAliveInterval 300", ("clientaliveinterval", ("300",))),
        ("  CLIENTALIVEINTERVAL\t300  ", ("clientaliveinterval", ("300",))),
        ("ClientAliveInterval=300", ("clientaliveinterval", ("300",))),
        ("ClientAliveInterval = 300", ("clientaliveinterval", ("300",))),
        ('ClientAliveInterval "300"', ("clientaliveinterval", ("300",))),
        ('ClientAliveInterval="300"', ("clientaliveinterval", ("300",))),
        ("ClientAliveInterval '300'", ("clientaliveinterval", ("300",))),
        ('"ClientAliveInterval" 300', ("clientaliveinterval", ("300",))),
        ("ClientAliveInterval 300 # note", ("clientaliveinterval", ("300",))),
        ("ClientAliveInterval 300\r", ("clientaliveinterval", ("300",))),
        (
            "ChannelTimeout session:*=5m agent-connection=1h",
            ("channeltimeout", ("session:*=5m", "agent-connection=1h")),
        ),
        ('Banner "/etc/my banner"', ("banner", ("/etc/my banner",))),
        ("#ClientAliveInterval 300", ("", ())),
        ("   # ClientAliveInterval 300", ("", ())),
        ("", ("", ())),
    ],
)
def test_split_line(line, expected):
    assert split_line(line) == expected


def test_single_quotes_are_no_quotes_before_8_7(etc):
    (etc / "sshd_config").write_text("LoginGraceTime '30'\n")
    assert winners(read(etc, (8, 4)))["logingracetime"][0] == "'30'"
    assert winners(read(etc, (9, 2)))["logingracetime"][0] == "30"


def test_first_value_wins_and_the_others_are_kept(etc):
    (etc / "sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\nClientAliveInterval 5\n")
    (etc / "sshd_config.d/50-cloud-init.conf").write_text("ClientAliveInterval 0\n")
    (etc / "sshd_config.d/60-late.conf").write_text("ClientAliveInterval 7\n")
    found = global_settings(read(etc))["clientaliveinterval"]
    assert [(s.value, s.source) for s in found] == [
        ("0", "/etc/ssh/sshd_config.d/50-cloud-init.conf:1"),
        ("7", "/etc/ssh/sshd_config.d/60-late.conf:1"),
        ("5", "/etc/ssh/sshd_config:2"),
    ]


def test_our_file_and_our_block_are_known(etc):
    (etc / "sshd_config").write_text(
        "Include sshd_config.d/*.conf\n# BEGIN sessionops.policy sshd\nMaxSessions 10\n# END sessionops.policy sshd\n"
        "LoginGraceTime 60\n"
    )
    (etc / "sshd_config.d/00-session-policy.conf").write_text("ClientAliveInterval 300\n")
    found = {s.keyword: s.ours for s in read(etc).settings}
    assert found == {"clientaliveinterval": True, "maxsessions": True, "logingracetime": False}


def test_match_ends_with_its_file_but_not_before(etc):
    (etc / "sshd_config").write_text("Include sshd_config.d/*.conf\nMatch User git\nMaxSessions 2\nLoginGraceTime 9\n")
    (etc / "sshd_config.d/10-a.conf").write_text("Match Group sftp\n  ClientAliveInterval 1\n")
    (etc / "sshd_config.d/20-b.conf").write_text("ClientAliveInterval 2\n")
    config = read(etc)
    assert winners(config) == {"clientaliveinterval": ("2", "/etc/ssh/sshd_config.d/20-b.conf:1")}
    assert [(s.match, s.keyword, s.value) for s in config.settings if s.match] == [
        ("Group sftp", "clientaliveinterval", "1"),
        ("User git", "maxsessions", "2"),
        ("User git", "logingracetime", "9"),
    ]


def test_include_inside_match_is_conditional(etc):
    (etc / "sshd_config").write_text("Match User git\nInclude extra.conf\n")
    (etc / "extra.conf").write_text("MaxSessions 2\nMatch all\nMaxSessions 3\n")
    config = read(etc)
    assert [(s.match, s.value) for s in config.settings] == [("User git", "2"), ("all", "3")]
    assert config.includes == ()


def test_nested_relative_and_hidden_includes(etc):
    (etc / "sshd_config").write_text('Include "sshd_config.d/*.conf" /etc/ssh/more\n')
    (etc / "sshd_config.d/1.conf").write_text("Include deeper\n")
    (etc / "sshd_config.d/.hidden.conf").write_text("MaxSessions 1\n")
    (etc / "sshd_config.d/2.conf").mkdir()
    (etc / "deeper").write_text("MaxSessions 2\n")
    (etc / "more").write_text("MaxSessions 3\n")
    config = read(etc)
    assert [s.source for s in config.settings] == ["/etc/ssh/deeper:1", "/etc/ssh/more:1"]
    assert "/etc/ssh/sshd_config.d" in config.watched


def test_include_loop_ends(etc):
    (etc / "sshd_config").write_text("MaxSessions 1\nInclude sshd_config\nInclude sshd_config\n")
    assert winners(read(etc))["maxsessions"] == ("1", "/etc/ssh/sshd_config:1")


def test_fifo_does_not_block(etc):
    (etc / "sshd_config").write_text("Include sshd_config.d/*.conf\nMaxSessions 1\n")
    os.mkfifo(etc / "sshd_config.d/a.conf")
    assert list(winners(read(etc))) == ["maxsessions"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_closed_file_is_named(etc):
    (etc / "sshd_config").write_text("x\n")
    (etc / "sshd_config").chmod(0)
    tree = Tree(str(etc.parent.parent))
    read_config(tree, MAIN)
    assert tree.unreadable == {MAIN}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("5m", 300), ("1H30M", 5400), ("1w", 604800), ("0", 0), ("", None), ("5x", None), ("-1", None)],
)
def test_sshd_seconds(text, seconds):
    assert sshd_seconds(text) == seconds


@pytest.mark.parametrize(
    ("keyword", "args", "printed"),
    [
        ("clientaliveinterval", ["5m"], "300"),
        ("unusedconnectiontimeout", ["none"], "none"),
        ("unusedconnectiontimeout", ["0"], "none"),
        ("logingracetime", ["1m"], "60"),
        ("maxstartups", ["10"], "10:30:10"),
        ("maxstartups", ["10:30:60"], "10:30:60"),
        ("tcpkeepalive", ["True"], "yes"),
        ("maxsessions", ["010"], "10"),
    ],
)
def test_canonical(keyword, args, printed):
    assert canonical(keyword, args) == printed


PIECES = st.sampled_from(
    ["Include", "include *", "Match User x", "Match", "ClientAliveInterval", "=", '"', "'", "#", " ", "\t", "\n", "\0",
     "sshd_config", "sshd_config.d/*.conf", "[", "\\", "5m", "ChannelTimeout session:*=5m", "é", "\x85", "\r"]
)  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(PIECES.map(str.encode), st.binary(max_size=12)), max_size=40))
def test_reading_never_raises(etc, parts):
    (etc / "sshd_config").write_bytes(b"".join(parts))
    (etc / "sshd_config.d/a.conf").write_bytes(b" ".join(parts))
    config = read(etc)
    lines = (etc / "sshd_config").read_bytes().count(b"\n") + 1
    assert all(1 <= s.line <= lines for s in config.settings if s.path == MAIN)
    assert len(config.files) <= sshd_config.MOST_FILES


@given(st.text(max_size=200))
def test_split_line_never_raises(line):
    keyword, args = split_line(line)
    assert keyword == keyword.lower()
    assert isinstance(args, tuple)


def test_huge_line(etc):
    (etc / "sshd_config").write_text("MaxSessions " + "9" * 3_000_000)
    assert len(read(etc).settings) == 1
