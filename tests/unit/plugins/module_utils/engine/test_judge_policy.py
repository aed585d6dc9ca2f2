# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings, from plain values."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_policy import (
    alive_bound,
    judge_policy,
    read_value,
    session_channel_timeout,
)
from hypothesis import given
from hypothesis import strategies as st

FACTS = {
    "host": {"systemd_version": 252, "family": "debian", "utmp": True},
    "sshd": {
        "installed": True, "config_ok": True, "config_error": None, "config": "/etc/ssh/sshd_config",
        "version": "9.2p1", "version_number": [9, 2], "drop_in_dir": "/etc/ssh/sshd_config.d",
        "running": True, "pid": 70, "current": True, "current_why": None, "reload": [["systemctl", "reload", "ssh"]],
        "config_changed_at": "2026-01-01T00:00:00Z", "loaded_at": "2026-01-01T00:00:01Z",
        "supports": {"channel_timeout": True, "count_max_zero_disables": True},
        "effective": {
            "clientaliveinterval": "300", "clientalivecountmax": "3", "channeltimeout": "session:*=900",
            "unusedconnectiontimeout": "120", "logingracetime": "60", "maxsessions": "10", "maxstartups": "10:30:60",
            "tcpkeepalive": "no",
        },
        "effective_by_user": {}, "sources": {}, "matches": [],
    },
    "shell": {
        "login": {"bash": {"tmout": 900, "readonly": True, "exported": True, "error": None}},
        "non_login": {}, "login_by_user": {}, "login_shells_of": {}, "setters": [],
    },
    "logind": {
        "running": True, "can_stop_idle_session": True, "sees_ssh_ttys": True, "current": True, "on_disk": {},
        "reload": [["systemctl", "reload", "systemd-logind"]],
        "effective": {"StopIdleSessionUSec": 900, "IdleActionUSec": 900, "KillUserProcesses": False},
    },
    "limits": {"maxlogins": {"value": 10, "source": "/etc/security/limits.d/x:1", "ours": True}, "active": True},
    "groups": {},
    "scanner": {
        "client_alive_interval": [{"source": "/etc/ssh/sshd_config:6", "value": 300}],
        "client_alive_count_max": [{"source": "/etc/ssh/sshd_config:7", "value": 3}],
        "login_grace_time": [{"source": "/etc/ssh/sshd_config:8", "value": 60}],
        "max_sessions": [{"source": "/etc/ssh/sshd_config:9", "value": 10}],
        "max_startups": [{"source": "/etc/ssh/sshd_config:10", "value": "10:30:60"}],
        "idle_timeout.shell": [{"source": "/etc/profile.d/00-session-policy.sh:9", "value": 900}],
        "idle_timeout.logind": [{"source": "/etc/systemd/logind.conf:3", "value": 900}],
        "max_logins": [{"source": "/etc/security/limits.d/x:1", "value": 10}],
    },
}  # fmt: skip
WANTED = {
    "layers": ["sshd", "shell", "logind"], "idle_timeout": 900, "client_alive_interval": 300,
    "client_alive_count_max": 3, "channel_idle_timeout": 900, "unused_connection_timeout": 120, "login_grace_time": 60,
    "max_sessions": 10, "max_startups": "10:30:60", "tcp_keep_alive": False, "max_logins": 10,
    "kill_user_processes": False,
}  # fmt: skip


def judge(wanted=None, **changes):
    """Findings after changes to FACTS, written as path__to__key=value."""
    facts = copy.deepcopy(FACTS)
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = facts
        for name in parents:
            at = at[name]
        at[last] = value
    return judge_policy(WANTED if wanted is None else wanted, facts)


def only(findings, setting, **fields):
    found = [f for f in findings if f["setting"] == setting and all(f[k] == v for k, v in fields.items())]
    assert len(found) == 1, found
    return found[0]


def test_all_in_force():
    findings = judge()
    assert {f["compliant"] for f in findings} == {True}
    assert len(findings) == 12


def test_nothing_wanted_nothing_found():
    assert judge({}) == []
    assert judge({"layers": ["sshd", "shell", "logind"]}) == []
    assert judge({**WANTED, "state": "absent"}) == []
    assert {f["layer"] for f in judge({**WANTED, "layers": ["shell"]})} == {"shell"}


@pytest.mark.parametrize(
    ("interval", "count", "version", "bound"),
    [
        (2, 2, [10, 0], 6), (2, 2, [9, 2], 12), (2, 2, [9, 4], 12), (2, 2, [9, 5], 6), (2, 2, [8, 4], 6),
        (2, 0, [8, 2], None), (2, 0, [8, 1], 2), (0, 3, [9, 2], None), (2, 2, None, 6),
    ],
)  # fmt: skip
def test_alive_bound(interval, count, version, bound):
    assert alive_bound(interval, count, version) == bound


def test_bound_is_in_the_finding():
    assert only(judge(), "client_alive_interval")["bound"] == 2 * 300 * 4


def test_who_overrides_ours():
    source = {
        "source": "/etc/ssh/sshd_config.d/00-a.conf:1", "value": "0", "ours": False,
        "overridden": [{"source": "/etc/ssh/sshd_config.d/00-session-policy.conf:2", "value": "300", "ours": True}],
    }  # fmt: skip
    found = only(
        judge(sshd__effective__clientaliveinterval="0", sshd__sources={"clientaliveinterval": source}),
        "client_alive_interval",
    )
    assert found["compliant"] is False
    assert found["in_force"] == 0
    assert found["overridden_by"] == "/etc/ssh/sshd_config.d/00-a.conf:1 0"
    assert "comes before /etc/ssh/sshd_config.d/00-session-policy.conf:2" in found["why"]
    assert found["bound"] is None


def test_default_has_no_place():
    found = only(judge(sshd__effective__logingracetime="120"), "login_grace_time")
    assert (found["compliant"], found["source"]) == (False, None)
    assert found["why"] == "nothing sets it: 120 is sshd's default"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("session:*=900", 900), ("session*=15m", 900), ("*=60", 60), ("none", None), ("session=900", None),
        ("agent-connection=5 session:*=900", 900), ("session:*=0", None), ("session:shell=900", None), ("", None),
    ],
)  # fmt: skip
def test_session_channel_timeout(text, seconds):
    assert session_channel_timeout(text) == seconds


def test_channel_timeout_without_wildcard_is_named():
    found = only(judge(sshd__effective__channeltimeout="session=900"), "channel_idle_timeout")
    assert (found["compliant"], found["in_force"]) == (False, None)
    assert "does not name session:*" in found["why"]


@pytest.mark.parametrize(("value", "words"), [("none", "locks those users out"), ("session:*=5", "does nothing")])
def test_channel_timeout_in_match_is_a_trap(value, words):
    trap = {"criteria": "User git", "keyword": "channeltimeout", "value": value, "source": "/x:3", "ours": False}
    found = only(judge(sshd__matches=[trap]), "channel_idle_timeout", compliant=False)
    assert words in found["why"]
    assert found["source"] == "/x:3"


def test_clock_that_this_openssh_has_not():
    findings = judge(sshd__supports={"channel_timeout": False}, sshd__version="8.4p1")
    for setting in ("channel_idle_timeout", "unused_connection_timeout"):
        found = only(findings, setting)
        assert found["compliant"] is None
        assert "OpenSSH 8.4p1 has no such clock" in found["why"]


def test_count_max_zero():
    findings = judge(sshd__effective__clientalivecountmax="0")
    assert "never ends a connection" in only(findings, "client_alive_count_max")["why"]


def test_broken_config():
    findings = judge(
        sshd__config_ok=False, sshd__config_error="line 3: Bad configuration option: Foo", sshd__effective={}
    )
    sshd = [f for f in findings if f["layer"] == "sshd"]
    assert {f["compliant"] for f in sshd} == {False}
    assert {f["why"] for f in sshd} == {"sshd refuses its configuration: line 3: Bad configuration option: Foo"}


def test_no_sshd_and_no_sight():
    for changes, words in (
        ({"sshd__installed": False}, "no OpenSSH server"),
        ({"sshd__effective": {}, "sshd__config_ok": None, "sshd__config_error": "no hostkeys"}, "does not say"),
    ):
        sshd = [f for f in judge(**changes) if f["layer"] == "sshd"]
        assert {f["compliant"] for f in sshd} == {None}
        assert words in sshd[0]["why"]


def test_daemon_that_has_not_reloaded():
    found = only(judge(sshd__current=False), "reload")
    assert found["compliant"] is False
    assert found["remedy"] == "run: systemctl reload ssh"
    unknown = only(judge(sshd__current=None, sshd__current_why="PidFile is none"), "reload")
    assert unknown["compliant"] is None
    assert "PidFile is none" in unknown["why"]


def test_exempt_user_of_sshd():
    wanted = {**WANTED, "layers": ["sshd"], "exempt_users": ["deploy"], "exempt_groups": ["bots"]}
    findings = judge(
        wanted,
        groups={"bots": {"existing": True, "members": ["bot"]}},
        sshd__effective__channeltimeout="none",
        sshd__effective_by_user={
            "deploy": {"clientaliveinterval": "0", "unusedconnectiontimeout": "none"},
            "bot": {"clientaliveinterval": "300", "unusedconnectiontimeout": "none"},
        },
    )
    assert only(findings, "client_alive_interval", user="deploy")["compliant"] is True
    assert only(findings, "unused_connection_timeout", user="deploy")["compliant"] is True
    refused = only(findings, "client_alive_interval", user="bot")
    assert (refused["compliant"], refused["in_force"]) == (False, 300)
    # ChannelTimeout cannot be lifted for one account: left off, it is unenforced and said to be so.
    left_off = only(findings, "channel_idle_timeout")
    assert left_off["compliant"] is None
    assert "deploy, bot" in left_off["why"]


def test_channel_timeout_in_force_hits_the_exempt_too():
    wanted = {**WANTED, "exempt_users": ["deploy"]}
    findings = judge(wanted, sshd__effective_by_user={"deploy": {"clientaliveinterval": "0"}})
    assert only(findings, "channel_idle_timeout", user="deploy")["compliant"] is False


def test_earlier_readonly_tmout_is_named():
    setters = [
        {"source": "/etc/profile.d/00-a.sh:1", "text": "readonly TMOUT=0", "value": "0", "ours": False},
        {"source": "/etc/profile.d/00-session-policy.sh:4", "text": "TMOUT=900", "value": "900", "ours": True},
    ]
    bash = {"tmout": 0, "readonly": True, "exported": False, "error": None}
    found = only(judge(shell__login={"bash": bash}, shell__setters=setters), "idle_timeout", layer="shell")
    assert found["compliant"] is False
    assert found["overridden_by"] == "/etc/profile.d/00-a.sh:1 readonly TMOUT=0"
    assert "read-only" in found["why"]


def test_tmout_that_can_be_unset_is_said():
    bash = {"tmout": 900, "readonly": False, "exported": True, "error": None}
    found = only(judge(shell__login={"bash": bash}), "idle_timeout", layer="shell")
    assert found["compliant"] is True
    assert "not read-only" in found["why"]


def test_ksh_shows_zero_where_nobody_set_it():
    ksh = {"tmout": 0, "readonly": False, "exported": False, "error": None}
    found = only(judge(shell__login={"ksh": ksh}), "idle_timeout", layer="shell")
    assert found["why"] == "no file that ksh reads sets TMOUT"


def test_autologout_counts_whole_minutes():
    tcsh = {"tmout": 900, "autologout_minutes": 15, "readonly": None, "exported": None, "error": None}
    for wanted, compliant in ((900, True), (901, True), (959, True), (960, False), (899, False)):
        findings = judge({**WANTED, "idle_timeout": wanted}, shell__login={"tcsh": tcsh})
        assert only(findings, "idle_timeout", shell="tcsh")["compliant"] is compliant


def test_shell_without_a_clock_counts_only_where_somebody_uses_it():
    assert [f for f in judge(shell__login_shells_of={"bash": ["root"]}) if f["shell"] == "fish"] == []
    found = only(judge(shell__login_shells_of={"fish": ["fay"]}), "idle_timeout", shell="fish")
    assert found["compliant"] is None
    assert "fish has no idle timeout, and it is the login shell of fay" in found["why"]


def test_exempt_user_of_the_shell():
    seen = {"tmout": 900, "readonly": True, "exported": True, "error": None}
    wanted = {**WANTED, "exempt_users": ["deploy"]}
    assert (
        only(judge(wanted, shell__login_by_user={"deploy": seen}), "idle_timeout", user="deploy")["compliant"] is False
    )
    free = {**seen, "tmout": None}
    assert (
        only(judge(wanted, shell__login_by_user={"deploy": free}), "idle_timeout", user="deploy")["compliant"] is True
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logind__running": False, "logind__effective": {}}, "no systemd-logind runs"),
        ({"logind__can_stop_idle_session": False, "host__systemd_version": 247}, "systemd 247 cannot"),
        ({"logind__sees_ssh_ttys": False}, "knows no terminal of an ssh session"),
    ],
)
def test_idle_session_that_nothing_enforces(changes, words):
    found = only(judge(**changes), "idle_timeout", layer="logind")
    assert found["compliant"] is None
    assert words in found["why"]


def test_the_smaller_threshold_counts():
    action = {"value": 300, "source": "/etc/systemd/logind.conf:5", "ours": False}
    found = only(
        judge(logind__effective__IdleActionUSec=300, logind__on_disk={"IdleActionUSec": action}),
        "idle_timeout",
        layer="logind",
    )
    assert (found["compliant"], found["in_force"]) == (False, 300)
    assert found["overridden_by"] == "/etc/systemd/logind.conf:5 300"


def test_logind_that_was_not_told():
    changes = {"logind__effective__StopIdleSessionUSec": None, "logind__current": False}
    found = only(judge(**changes), "idle_timeout", layer="logind")
    assert (found["compliant"], found["remedy"]) == (False, "run: systemctl reload systemd-logind")


def test_max_logins_where_pam_limits_counts_the_new_login_twice():
    eleven = {"value": 11, "source": "/etc/security/limits.d/x:1", "ours": True}
    found = only(judge(host__utmp=False, limits__maxlogins=eleven), "max_logins")
    assert (found["compliant"], found["in_force"]) == (True, 10)
    assert only(judge(limits__maxlogins=eleven), "max_logins")["compliant"] is False


def test_idle_sessions_stay_off_for_the_sake_of_who_is_exempt():
    off = {"StopIdleSessionUSec": None, "IdleActionUSec": 900, "KillUserProcesses": False}
    found = only(judge({**WANTED, "exempt_users": ["bob"]}, logind__effective=off), "idle_timeout", layer="logind")
    assert found["compliant"] is None
    assert "exempt" in found["why"]
    assert only(judge(logind__effective=off), "idle_timeout", layer="logind")["compliant"] is False


def test_max_logins_without_pam_limits():
    found = only(judge(limits__active=False), "max_logins")
    assert found["compliant"] is False
    assert "no pam_limits" in found["why"]


@pytest.mark.parametrize(
    ("criteria", "keyword", "value", "exempt", "findings"),
    [
        ("User dave", "clientaliveinterval", "0", [], 1),
        ("User dave", "clientaliveinterval", "5m", [], 0),
        ("User dave", "maxsessions", "99", [], 1),
        ("User dave", "clientaliveinterval", "0", ["dave"], 0),
        ("User dave,git", "clientaliveinterval", "0", ["dave"], 1),
        ("Address 10.0.0.0/8", "clientalivecountmax", "9", ["dave"], 1),
    ],
)
def test_a_match_block_of_somebody_elses_is_named(criteria, keyword, value, exempt, findings):
    match = {"criteria": criteria, "keyword": keyword, "value": value, "source": "/x:3", "ours": False}
    found = [
        f
        for f in judge({**WANTED, "exempt_users": exempt}, sshd__matches=[match])
        if f["overridden_by"] == f"/x:3 {value}" and f["compliant"] is False
    ]
    assert len(found) == findings
    assert all(criteria in f["why"] for f in found)


def test_rules_are_carried():
    wanted = {**WANTED, "rules": {"max_sessions": {"cis": "5.1.17", "stig": ["A", "B"]}}}
    findings = judge(wanted)
    assert only(findings, "max_sessions")["rules"] == ["cis 5.1.17", "stig A", "stig B"]
    assert only(findings, "max_startups")["rules"] == []


@given(st.sampled_from(sorted(FACTS["sshd"]["effective"])), st.text(max_size=20))
def test_odd_values_never_raise(keyword, text):
    read_value(keyword, text)
    judge(**{f"sshd__effective__{keyword}": text})


def test_off_is_off():
    wanted = {**WANTED, "unused_connection_timeout": 0, "channel_idle_timeout": 0, "idle_timeout": 0}
    bash = {"tmout": None, "readonly": False, "exported": False, "error": None}
    findings = judge(
        wanted,
        sshd__effective__unusedconnectiontimeout="none",
        sshd__effective__channeltimeout="none",
        shell__login={"bash": bash},
        logind__effective__StopIdleSessionUSec=None,
    )
    assert {f["compliant"] for f in findings} == {True}


# --- multiplexer and client ---------------------------------------------------------------------------------------

TMUX = {
    "program": "/usr/bin/tmux", "config": "/etc/tmux.conf", "config_mode": "0644", "lock_after_time": 540,
    "lock_command": "vlock", "lock_command_exists": True, "error": None, "complaint": None, "by_user": {},
    "sources": {"lock-after-time": {"source": "/etc/tmux.conf:2", "value": "540", "ours": True}},
}  # fmt: skip
SCREEN = {"program": None, "config": "/etc/screenrc", "idle": None, "source": None, "text": None, "ours": False}
LOCKS = {"tmux": TMUX, "screen": SCREEN, "shells": {"tmux": []}, "linger": {}}
CLIENT = {
    "installed": True, "error": None, "config": "/etc/ssh/ssh_config", "drop_in_dir": "/etc/ssh/ssh_config.d",
    "effective": {"serveraliveinterval": "60", "serveralivecountmax": "3"}, "sources": {},
}  # fmt: skip


def judge_locks(wanted=None, tmux=(), screen=(), **changes):
    seen = {**LOCKS, "tmux": {**TMUX, **dict(tmux)}, "screen": {**SCREEN, **dict(screen)}, **changes}
    return judge({"layers": ["multiplexer"], **(wanted or {"lock_timeout": 540})}, multiplexer=seen)


def test_a_lock_that_is_in_force():
    (found,) = judge_locks()
    assert (found["compliant"], found["shell"], found["source"]) == (True, "tmux", "/etc/tmux.conf:2")


@pytest.mark.parametrize(
    ("tmux", "compliant", "words"),
    [
        ({"lock_after_time": 0, "sources": {}}, False, "does not set lock-after-time"),
        ({"lock_after_time": 0, "complaint": "/etc/tmux.conf:3: syntax error"}, False, "syntax error"),
        ({"lock_command_exists": False, "lock_command": "lock -np"}, False, "'lock -np', which is not there"),
        ({"config_mode": "0640"}, False, "has mode 0640: the users' tmux can't read it"),
        ({"lock_after_time": None, "error": "it did not answer in time and was stopped"}, None, "could not be asked"),
        ({"program": None}, None, "neither tmux nor screen is installed"),
    ],
)
def test_a_lock_that_is_not(tmux, compliant, words):
    (found,) = judge_locks(tmux=tmux)
    assert found["compliant"] is compliant and words in found["why"]


def test_what_sets_another_lock_is_named():
    foreign = {"source": "/etc/tmux.conf:9", "value": "0", "ours": False}
    (found,) = judge_locks(tmux={"lock_after_time": 0, "sources": {"lock-after-time": foreign}})
    assert (found["compliant"], found["overridden_by"]) == (False, "/etc/tmux.conf:9 0")
    screen = {"program": "/usr/bin/screen", "source": "/etc/screenrc:7", "text": "idle off"}
    assert (
        only(judge_locks(screen=screen), "lock_timeout", shell="screen")["overridden_by"] == "/etc/screenrc:7 idle off"
    )
    screen.update(source=None, text=None)
    assert (
        "does not say 'idle 540 lockscreen'" in only(judge_locks(screen=screen), "lock_timeout", shell="screen")["why"]
    )


def test_who_is_exempt_is_not_to_be_locked():
    by_user = {name: {"lock_after_time": after, "error": None} for name, after in (("backup", 0), ("deploy", 540))}
    wanted = {"lock_timeout": 540, "exempt_users": ["backup", "deploy", "unknown"]}
    found = judge_locks(wanted, tmux={"by_user": by_user})
    assert [(f["user"], f["compliant"]) for f in found] == [(None, True), ("backup", True), ("deploy", False)]


def test_login_shells_and_who_lingers():
    wanted = {"tmux_login_shell": False, "linger_users": ["bob", "alice"]}
    shells, linger = judge_locks(wanted, linger={"alice": True, "bob": False})
    assert (shells["compliant"], linger["compliant"], linger["in_force"]) == (True, True, "alice, bob")
    shells, linger = judge_locks(wanted, shells={"tmux": ["/etc/shells:9"]}, linger={"alice": True})
    assert (shells["compliant"], shells["source"]) == (False, "/etc/shells:9")
    assert (linger["compliant"], linger["why"]) == (False, "bob does not linger")
    assert judge_locks({"tmux_login_shell": True}) == []


def judge_keepalive(**changes):
    wanted = {"layers": ["client"], "server_alive_interval": 60, "server_alive_count_max": 3}
    return judge(wanted, client={**CLIENT, **changes})


def test_keepalives_of_clients():
    assert [f["compliant"] for f in judge_keepalive()] == [True, True]
    assert [f["compliant"] for f in judge_keepalive(installed=False, effective={})] == [None, None]
    broken = judge_keepalive(error="Bad configuration option: perhaps", effective={})
    assert [f["compliant"] for f in broken] == [False, False] and "perhaps" in broken[0]["why"]
    source = {"source": "/etc/ssh/ssh_config.d/00-a.conf:1", "value": "5", "ours": False, "overridden": [
        {"source": "/etc/ssh/ssh_config.d/00-session-policy.conf:4", "value": "60", "ours": True}]}  # fmt: skip
    effective = {"serveraliveinterval": "5", "serveralivecountmax": "3"}
    found = judge_keepalive(effective=effective, sources={"serveraliveinterval": source})[0]
    assert (found["compliant"], found["overridden_by"]) == (False, "/etc/ssh/ssh_config.d/00-a.conf:1 5")
    assert "comes before /etc/ssh/ssh_config.d/00-session-policy.conf:4" in found["why"]
    assert "0 is ssh's default" in judge_keepalive(effective={"serveraliveinterval": "0"})[0]["why"]


# --- what scanners read, next to what is in force

SCANNED = {**WANTED, "scanned": True}
MAIN = "/etc/ssh/sshd_config:6"


def kinds(findings):
    return [(f["kind"], f["layer"], f["setting"], f["compliant"]) for f in findings if f["kind"] != "value"]


def test_where_text_and_effect_agree_there_is_nothing_more_to_say():
    assert kinds(judge(SCANNED)) == []
    nothing = {"scanner": {name: [] for name in FACTS["scanner"]}, "sshd__effective__clientaliveinterval": "0"}
    assert ("effect_only", "sshd", "client_alive_interval", False) not in kinds(judge(SCANNED, **nothing))
    assert kinds(judge({**WANTED, "scanned": False}, scanner={name: [] for name in FACTS["scanner"]})) == []


def test_text_that_has_no_effect():
    findings = judge(SCANNED, sshd__effective__clientaliveinterval="0")
    assert kinds(findings) == [("text_only", "sshd", "client_alive_interval", False)]
    found = only(findings, "client_alive_interval", kind="text_only")
    assert found["source"] == MAIN
    assert found["why"] == f"a scanner passes this host for the text in {MAIN}, but in force is 0"


def test_text_for_a_clock_that_nothing_here_enforces():
    findings = judge(SCANNED, logind__sees_ssh_ttys=False)
    assert kinds(findings) == [("text_only", "logind", "idle_timeout", None)]


@pytest.mark.parametrize("hits", [[], [{"source": MAIN, "value": "5m"}],
                                  [{"source": MAIN, "value": 300}, {"source": MAIN, "value": 0}]])  # fmt: skip
def test_effect_that_a_scanner_will_not_see(hits):
    findings = judge(SCANNED, scanner__client_alive_interval=hits)
    assert kinds(findings) == [("effect_only", "sshd", "client_alive_interval", False)]
    assert only(findings, "client_alive_interval", kind="value")["compliant"] is True
    assert only(findings, "client_alive_interval", kind="effect_only")["remedy"]


def test_one_shell_that_goes_on_is_enough_for_text_only():
    shells = {
        "bash": FACTS["shell"]["login"]["bash"],
        "zsh": {"tmout": 0, "readonly": True, "exported": True, "error": None},
    }
    assert kinds(judge(SCANNED, shell__login=shells)) == [("text_only", "shell", "idle_timeout", False)]


def test_a_limit_whose_text_must_be_one_more_than_its_effect():
    """Debian's pam_limits without utmp counts the login that is just coming twice."""
    facts = {
        "host__utmp": False,
        "limits__maxlogins__value": 11,
        "scanner__max_logins": [{"source": "/etc/security/limits.d/x:1", "value": 11}],
    }
    found = only(judge(SCANNED, **facts), "max_logins", kind="effect_only")
    assert "waive it" in found["remedy"]


def test_everything_that_is_not_in_force_has_a_remedy_of_one_line():
    nothing = {name: "none" if "timeout" in name else "0" for name in FACTS["sshd"]["effective"]}
    shells = {"bash": {"tmout": None, "readonly": False, "exported": False, "error": None}}
    for finding in judge(SCANNED, sshd__effective=nothing, shell__login=shells):
        if finding["compliant"] is False:
            assert finding["remedy"] and "\n" not in finding["remedy"]


# --- accounts that were asked about

MATCH = {
    "criteria": "User dave", "keyword": "clientaliveinterval", "value": "2h", "source": "/etc/ssh/sshd_config:90",
    "ours": False,
}  # fmt: skip


def test_an_account_that_a_match_block_gives_another_value():
    by_user = {
        "dave": {"clientaliveinterval": "7200", "clientalivecountmax": "3", "maxsessions": "10"},
        "alice": {"clientaliveinterval": "300", "clientalivecountmax": "3", "maxsessions": "10"},
    }
    findings = judge(sshd__effective_by_user=by_user, sshd__matches=[MATCH])
    found = only(findings, "client_alive_interval", user="dave")
    assert (found["in_force"], found["compliant"]) == (7200, False)
    assert found["overridden_by"] == "/etc/ssh/sshd_config:90 2h"
    assert {f["compliant"] for f in findings if f["user"] == "alice"} == {True}
    assert len([f for f in findings if f["user"] == "alice"]) == 3


def test_an_account_whose_login_shell_has_another_timeout():
    shell = {"tmout": 0, "readonly": True, "exported": True, "error": None}
    findings = judge(shell__login_by_user={"dave": shell})
    assert only(findings, "idle_timeout", user="dave")["compliant"] is False
    exempt = judge({**WANTED, "exempt_users": ["dave"]}, shell__login_by_user={"dave": shell})
    assert only(exempt, "idle_timeout", user="dave")["compliant"] is True


REAPER = {
    "engine": "e1", "files": ["model.py"], "cron": None, "active": True, "last_run": "2026-01-01T00:00:00Z",
    "last_run_age": 30, "policy": {"idle_timeout": "15m", "period": "1m", "mode": "enforce"},
}  # fmt: skip
REAPED = {"layers": ["reaper"], "idle_timeout": 900, "reaper_engine": "e1"}


@pytest.mark.parametrize(
    ("change", "compliant", "why"),
    [
        ({}, True, None),
        ({"engine": None}, False, "no reaper is installed"),
        ({"engine": "e2"}, False, "not this collection's"),
        ({"active": False}, False, "session-reaper.timer is not active"),
        ({"last_run_age": None}, False, "has not run since the boot"),
        ({"last_run_age": 3600}, False, "last run was at 2026"),
        ({"policy": {"idle_timeout": "1h"}}, False, "went by 3600"),
        ({"policy": {"idle_timeout": 900, "mode": "report"}}, None, "only reports"),
    ],
)
def test_the_reaper_is_judged_by_its_last_run(change, compliant, why):
    facts = {**copy.deepcopy(FACTS), "reaper": {**REAPER, **change}}
    facts["host"]["init"] = "systemd"
    (finding,) = judge_policy(REAPED, facts)
    assert finding["compliant"] is compliant and (why or "") in (finding["why"] or ""), finding
    assert (finding["in_force"] == 900) is (compliant is not False)


def test_what_only_the_reaper_enforces_is_enforced():
    facts = {**copy.deepcopy(FACTS), "reaper": REAPER}
    facts["host"]["init"] = "systemd"
    facts["logind"]["sees_ssh_ttys"] = False
    facts["shell"]["login_shells_of"] = {"fish": ["erin"]}
    wanted = {**REAPED, "layers": ["shell", "logind", "reaper"]}
    assert all(finding["compliant"] for finding in judge_policy(wanted, facts))
    facts["reaper"] = {**REAPER, "active": False}
    assert {f["layer"] for f in judge_policy(wanted, facts) if f["compliant"] is None} == {"shell", "logind"}
