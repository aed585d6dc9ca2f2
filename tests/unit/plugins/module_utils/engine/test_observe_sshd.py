# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running sshd: versions, command lines, and whether it has read what is on disk."""

from __future__ import annotations

import os

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import sshd
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import Answer
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree
from ansible_collections.sessionops.policy.plugins.module_utils._engine.platforms import UNKNOWN, debian
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (["OpenSSH_9.2, OpenSSL 3.0.22\n", "OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL\n"], ("9.2p1", (9, 2))),
        (["unknown option -- V\nOpenSSH_8.4p1 Debian-5\nusage: sshd\n"], ("8.4p1", (8, 4))),
        (["OpenSSH_10.0p2 Debian-7\n"], ("10.0p2", (10, 0))),
        # A client of another version says nothing about the server.
        (["OpenSSH_9.2\n", "OpenSSH_9.9p1\n"], ("9.2", (9, 2))),
        (["", "OpenSSH_9.9p1\n"], ("9.9p1", (9, 9))),
        (["usage: dropbear\n"], (None, None)),
        ([], (None, None)),
    ],
)
def test_parse_version(outputs, expected):
    assert sshd.parse_version(*outputs) == expected


@pytest.mark.parametrize(
    ("cmdline", "options"),
    [
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0\0\0", ()),
        ("/usr/sbin/sshd\0-D\0-f\0/etc/ssh/other\0", ("-f", "/etc/ssh/other")),
        ("sshd: /usr/sbin/sshd -D -f/etc/x -o Port=2 [listener] 1 of", ("-f", "/etc/x", "-o", "Port=2")),
        ("sshd: alice [priv]\0", None),
        ("sshd: alice@pts/0\0", None),
        ("sshd: /usr/sbin/sshd -D -o\0", None),
        ("/usr/sbin/sshd\0-i\0", None),
        ("/usr/sbin/sshd\0-D\0-o\0", ("-o", "")),
        ("", None),
    ],
)
def test_listener_options(cmdline, options):
    assert sshd.listener_options(cmdline) == options


@given(st.text(max_size=100))
def test_parsers_never_raise(text):
    sshd.listener_options(text)
    sshd.parse_effective(text)
    sshd.parse_units(text)
    sshd.parse_version(text)


def test_effective_keeps_every_value_of_a_repeated_keyword():
    assert sshd.parse_effective("port 22\nacceptenv LANG\nacceptenv LC_*\nbanner none\n") == {
        "port": "22",
        "acceptenv": "LANG\nLC_*",
        "banner": "none",
    }


# --- is the running configuration the one on disk? --------------------------------------------------------------


@pytest.fixture
def host(tmp_path):
    for path, text in {
        "usr/sbin/sshd": "",
        "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n",
        "etc/ssh/sshd_config.d/a.conf": "MaxSessions 3\n",
        "run/sshd.pid": "70\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "usr/sbin/sshd").chmod(0o755)
    return tmp_path


def observe(host, effective="maxsessions 3\npidfile /run/sshd.pid\n", pid=70, started=None, units="", **kwargs):
    daemon = sshd.Daemon(pid, started, ()) if pid else None
    answers = {"sshd.T": Answer(0, effective), "sshd.units": Answer(0, units)}
    clock = {"now": lambda: 0.0, "sleep": lambda seconds: None, **kwargs}
    return sshd.observe_sshd(
        Tree(str(host)),
        debian.PLATFORM,
        "debian:12",
        "systemd",
        daemon,
        [],
        {},
        answers,
        lambda asked: {},
        True,
        **clock,
    )


def newest(host):
    return max(max(s.st_mtime, s.st_ctime) for s in (os.stat(p) for p in host.rglob("etc/**/*")))


def read_at(host, moment):
    os.utime(host / "run/sshd.pid", (moment, moment))


def test_current_when_the_pid_file_is_younger(host):
    read_at(host, newest(host) + 5)
    assert observe(host).current is True


def test_not_current_after_a_change_in_a_drop_in(host):
    read_at(host, newest(host) - 5)
    seen = observe(host)
    assert seen.current is False
    assert seen.loaded_at < seen.config_changed_at


def test_a_removed_drop_in_is_a_change(host):
    later = newest(host) + 100
    read_at(host, later)
    os.utime(host / "etc/ssh/sshd_config.d", (later + 1, later + 1))
    assert observe(host).current is False


def test_a_copied_old_file_is_a_change(host):
    """cp -p brings an old mtime, but the change time is now."""
    drop_in = host / "etc/ssh/sshd_config.d/a.conf"
    read_at(host, newest(host) - 1)
    os.utime(drop_in, (1, 1))
    assert observe(host).current is False


def test_another_daemons_pid_file_proves_nothing(host):
    read_at(host, newest(host) + 5)
    seen = observe(host, pid=71)
    assert seen.current is None
    assert "does not name the running sshd (71)" in seen.current_why


def test_without_pid_file_a_late_start_proves_it(host):
    effective = "maxsessions 3\npidfile none\n"
    assert observe(host, effective, started=newest(host) + 10).current is True
    seen = observe(host, effective, started=newest(host) - 10)
    assert seen.current is None
    assert "PidFile is none" in seen.current_why


def test_a_reload_under_way_is_waited_for(host):
    changed = newest(host)
    read_at(host, changed - 5)
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        read_at(host, changed + 1)

    assert observe(host, now=lambda: changed + 0.1, sleep=sleep).current is True
    assert len(naps) == 1


def test_an_old_change_is_not_waited_for(host):
    read_at(host, newest(host) - 5)

    def sleep(seconds):
        raise AssertionError("waited")

    assert observe(host, now=lambda: newest(host) + 60, sleep=sleep).current is False


SOCKET = (
    "Id=ssh.service\nLoadState=loaded\nActiveState={service}\n\n"
    "Accept={accept}\nId=ssh.socket\nLoadState=loaded\nActiveState=active\n"
)


def test_socket_that_starts_one_sshd_per_connection(host):
    seen = observe(host, units=SOCKET.format(service="inactive", accept="yes"), pid=None)
    assert (seen.socket_activated, seen.running, seen.current, seen.reload) == (True, True, True, [])


def test_socket_that_hands_over_to_a_daemon(host):
    """Accept=no: the daemon that the first connection started stays, and the next connection must start a new one."""
    read_at(host, newest(host) - 5)
    seen = observe(host, units=SOCKET.format(service="active", accept="no"))
    assert (seen.socket_activated, seen.current) == (True, False)
    assert seen.reload == [["systemctl", "stop", "ssh.service"]]


def test_daemon_that_no_unit_started(host):
    units = "Id=ssh.service\nLoadState=loaded\nActiveState=inactive\n"
    assert observe(host, units=units).reload == [["kill", "-HUP", "70"]]


def test_no_daemon_nothing_to_reload(host):
    seen = observe(host, pid=None)
    assert (seen.running, seen.reload, seen.current) == (False, [], None)


# --- what is in force -------------------------------------------------------------------------------------------


def test_disagreement_with_sshd_is_said(host):
    seen = observe(host, "maxsessions 9\n")
    assert [w for w in seen.warnings if "a.conf:1 sets maxsessions to 3, but sshd has 9" in w]


def test_broken_config_in_sshds_own_words(host):
    answers = {"sshd.T": Answer(255, "", "/etc/ssh/sshd_config: line 3: Bad configuration option: Foo\n")}
    seen = sshd.observe_sshd(
        Tree(str(host)), UNKNOWN, "", "systemd", None, [], {}, answers, lambda asked: {}, True, now=lambda: 0.0
    )
    assert seen.config_ok is False
    assert seen.config_error == "/etc/ssh/sshd_config: line 3: Bad configuration option: Foo"
    assert seen.sources["maxsessions"]["source"] == "/etc/ssh/sshd_config.d/a.conf:1"


@pytest.mark.parametrize("root", [True, False])
def test_no_host_keys_is_not_a_broken_config(host, root):
    answers = {"sshd.T": Answer(255, "", "sshd: no hostkeys available -- exiting.\n")}
    seen = sshd.observe_sshd(
        Tree(str(host)), UNKNOWN, "", "systemd", None, [], {}, answers, lambda asked: {}, root, now=lambda: 0.0
    )
    assert (seen.config_ok, seen.effective) == (None, {})
    assert any("not known" in w for w in seen.warnings)


@pytest.mark.parametrize(
    ("main", "include", "first"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf\nMaxSessions 3\n", True, True),
        ("MaxSessions 3\nInclude /etc/ssh/sshd_config.d/*.conf\n", True, False),
        ("MaxSessions 3\n", False, False),
        ("Match User git\nInclude /etc/ssh/sshd_config.d/*.conf\n", False, False),
        ("Match User git\nMaxSessions 3\n", False, False),
        ("include = sshd_config.d/*.conf\n", True, True),
        ("Include /etc/ssh/sshd_config.d/50-*.conf\n", False, False),
        (
            "# BEGIN sessionops.policy sshd\nMaxSessions 3\n# END sessionops.policy sshd\n"
            "Include sshd_config.d/*.conf\n",
            True,
            True,
        ),
    ],
)
def test_where_the_include_stands(host, main, include, first):
    (host / "etc/ssh/sshd_config").write_text(main)
    seen = observe(host)
    assert (seen.include, seen.drop_in_first) == (include, first)


def test_match_settings_are_listed_apart(host):
    (host / "etc/ssh/sshd_config").write_text("Match User git\nChannelTimeout none\nX11Forwarding no\n")
    seen = observe(host)
    assert seen.matches == [
        {"criteria": "User git", "keyword": "channeltimeout", "value": "none", "source": "/etc/ssh/sshd_config:2",
         "ours": False}
    ]  # fmt: skip
    assert seen.sources == {}
