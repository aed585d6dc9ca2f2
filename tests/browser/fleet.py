# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of any size as the modules return it, hostile names among it, without a host."""

from __future__ import annotations

import datetime
import random
import typing as t

from ansible_collections.sessionops.policy.plugins.plugin_utils._audit import Seen, audit
from ansible_collections.sessionops.policy.plugins.plugin_utils._waivers import parse_waivers

NOW = datetime.datetime(2026, 6, 1, 12, 0, tzinfo=datetime.timezone.utc)
HOSTILE = "<script>document.title='owned'</script>"
# An escape sequence, the end of a script element, and an override of the writing direction.
HOSTILE_COMMAND = "vim \x1b]0;owned\x07 </script><img src=x onerror=document.title='owned'> \u202egpj.exe"
WAIVERS = [{"rule": "max_startups", "hosts": "web*", "reason": "behind a proxy", "expires": "2026-12-31"}]


def finding(clock: str, setting: str, wanted: t.Any, in_force: t.Any, **more: t.Any) -> dict:
    right = in_force == wanted
    return {
        "layer": "shell" if "shell" in more else "sshd", "clock": clock, "setting": setting, "wanted": wanted,
        "in_force": in_force, "compliant": right, "source": "/etc/ssh/sshd_config:6",
        "overridden_by": None if right else "/etc/ssh/sshd_config.d/00-a.conf:1 0",
        "why": None if right else "/etc/ssh/sshd_config.d/00-a.conf:1 comes first",
        "remedy": None if right else "remove the line", "rules": ["cis 5.1.7", "nist AC-12"], "user": None,
        "shell": None, "bound": None, "kind": "value", **more,
    }  # fmt: skip


def policy_look(number: int) -> dict:
    """Every 10th host is out of order, every 25th cannot enforce a clock, every 50th is unreachable."""
    if number % 50 == 7:
        return {"unreachable": True, "msg": "Connection timed out"}
    findings = [
        finding("unresponsive peer", "client_alive_interval", 300, 0 if number % 10 == 3 else 300),
        finding("unresponsive peer", "client_alive_count_max", 3, 3),
        finding("login grace", "login_grace_time", 60, 60),
        finding("limit", "max_startups", "10:30:60", "10:30:100" if number % 20 == 4 else "10:30:60"),
        finding("idle shell", "idle_timeout", 900, 900, shell="bash"),
        finding("idle shell", "idle_timeout", 900, 900, shell="zsh"),
    ]
    if number % 25 == 5:
        why = "logind knows no terminal of an ssh session here"
        findings.append(finding("idle session", "idle_timeout", 900, 900, layer="logind", compliant=None, why=why))
    return {
        "findings": findings, "host": {"name": "Debian GNU/Linux 13 (trixie)"}, "sshd": {"version": "10.0p2"},
        "policy": {"warnings": []},
    }  # fmt: skip


def session(dice: random.Random, host: int, number: int) -> dict:
    idle = None if number % 17 == 0 else int(dice.lognormvariate(6, 2.5))
    work: dict[str, t.Any] = {"foreground": [dice.choice(["bash", "vim", "top", "psql"])]}
    if number % 6 == 0:
        work["editors"] = [{"program": "vim", "files": [f"/home/u/notes{number}.txt"]}]
    if number % 9 == 0:
        work["jobs"] = [{"command": "make -j8", "stopped": False}]
    stale = idle is not None and idle > 900
    return {
        "id": f"boot-{host}-{number}", "user": f"user{dice.randrange(40)}", "kind": dice.choice(["terminal", "sftp", "exec"]),
        "state": "active", "remote_host": f"192.0.2.{dice.randrange(1, 255)}", "ttys": [f"pts/{number}"],
        "login_at": "2026-06-01T08:00:00Z", "age": 14400, "idle": idle, "idle_signal": "tty_input", "output_idle": 5,
        "peer_unresponsive": None, "work": work, "troubles": [], "is_self": False, "stale": stale,
        "stale_because": ["idle"] if stale else [], "protected": "editors" in work,
        "protected_because": ["editors"] if "editors" in work else [],
    }  # fmt: skip


def session_look(dice: random.Random, host: int, sessions: int) -> dict | None:
    if host % 50 == 7:
        return {"skipped": True}
    found = [session(dice, host, number) for number in range(sessions)]
    leftovers = []
    if host == 0:
        found[0].update(
            user=HOSTILE, work={"foreground": [HOSTILE_COMMAND], "editors": [{"program": HOSTILE, "files": []}]}
        )
        leftovers = [
            {"kind": "orphan", "why": HOSTILE, "user": HOSTILE, "command": HOSTILE_COMMAND, "age": 90, "pid": 7}
        ]
    return {"sessions": found, "leftovers": leftovers}


def fleet(hosts: int, sessions: int, seed: int = 1) -> tuple[dict, dict]:
    """An audit of `hosts` hosts, and what session_info returned of each, `sessions` on every one."""
    dice = random.Random(seed)
    names = [f"{('web', 'db', 'jump')[number % 3]}{number:03d}" for number in range(hosts)]
    seen = [Seen(name, ("all",), policy_look(number)) for number, name in enumerate(names)]
    looks = {name: session_look(dice, number, sessions) for number, name in enumerate(names)}
    return audit(seen, parse_waivers(WAIVERS), NOW, "cis"), looks
