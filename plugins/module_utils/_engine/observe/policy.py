# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policy_info returns but the findings: one look at the host, its questions asked all at once."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, Sequence

from ..journal import shown_history
from . import client, host, limits, logind, multiplexer_lock, reaper, scanner, shell, sshd
from .command import Runner, run_together
from .tree import Tree

# Of a group's members, how many are asked for one by one.
MOST_MEMBERS = 5


def observe_policy(
    tree: Tree,
    users: Sequence[str] = (),
    groups: Sequence[str] = (),
    run: Runner = run_together,
    root: bool | None = None,
    login_shells: bool = True,
) -> dict[str, Any]:
    """Everything policy_info returns but the findings.

    Args:
        users, groups: the names that somebody asked about.
        root: whether we may see everything and become anybody; by default, whether we are root.
        login_shells: whether to start the shells and see what their logins get.
    """
    root = os.geteuid() == 0 if root is None else root
    release = host.os_release(tree)
    platform = host.platform_of(release)
    accounts = {name: _account(name) for name in users}
    members = {name: _members(name) for name in groups}
    for name in (n for found in members.values() for n in (found or [])[:MOST_MEMBERS]):
        accounts.setdefault(name, _account(name))
    existing = {name: ids for name, ids in accounts.items() if ids}

    daemon = sshd.find_daemon(tree)
    shells = shell.find_shells(tree)
    home = "/etc/skel" if tree.is_dir("/etc/skel") else "/nonexistent"
    asked = {
        **(shell.questions(shells, root, home, existing) if login_shells else {}),
        **sshd.questions(tree, platform, daemon, list(existing)),
        **logind.questions(tree),
        **host.questions(tree),
        **client.questions(tree, platform, root),
        **multiplexer_lock.questions(tree, root, existing),
        **reaper.questions(tree),
    }
    answers = run(asked)

    seen_host = host.observe_host(tree, answers)
    major = f"{seen_host.id}:{seen_host.version_id.partition('.')[0]}"
    seen_sshd = sshd.observe_sshd(
        tree, platform, major, seen_host.init, daemon, list(existing), asked, answers, run, root
    )
    seen_shell = shell.observe_shell(tree, platform, shells, list(existing), answers)
    seen_logind = logind.observe_logind(
        tree, seen_host.systemd_version, seen_host.systemd_features, seen_host.utmp, answers
    )
    facts: dict[str, Any] = {
        "host": {**asdict(seen_host), "logind": seen_logind.running},
        "sshd": _with_iso_times(asdict(seen_sshd)),
        "shell": asdict(seen_shell),
        "logind": asdict(seen_logind),
        "limits": asdict(limits.observe_limits(tree)),
        "transactions": shown_history(tree.root or "/"),
        "client": asdict(client.observe_client(tree, platform, answers)),
        "multiplexer": asdict(multiplexer_lock.observe_multiplexer(tree, platform, answers)),
        "scanner": scanner.observe_scanner(tree, platform, major, seen_sshd.config) if seen_sshd.config else {},
        "reaper": asdict(reaper.observe_reaper(tree, seen_host.init, answers)),
        "users": {name: {"existing": ids is not None} for name, ids in accounts.items()},
        "groups": {name: {"existing": found is not None, "members": found or []} for name, found in members.items()},
    }
    facts["warnings"] = [
        *facts["sshd"].pop("warnings"),
        *facts["shell"].pop("warnings"),
        *_about_sight(tree, shells_as_ourselves=login_shells and not root),
    ]
    return facts


def _account(name: str) -> tuple[int, int, tuple[int, ...]] | None:
    """uid, gid and groups of an account, None if there is none of that name."""
    try:
        found = pwd.getpwnam(name)
        return found.pw_uid, found.pw_gid, tuple(os.getgrouplist(name, found.pw_gid))
    except (KeyError, ValueError, OSError):
        return None


def _members(name: str) -> list[str] | None:
    try:
        found = grp.getgrnam(name)
    except (KeyError, ValueError, OSError):
        return None
    first = [p.pw_name for p in pwd.getpwall() if p.pw_gid == found.gr_gid]
    return sorted({*first, *found.gr_mem})


def _with_iso_times(facts: dict[str, Any]) -> dict[str, Any]:
    for name in ("started_at", "loaded_at", "config_changed_at"):
        if facts[name] is not None:
            moment = datetime.fromtimestamp(facts[name], timezone.utc)
            facts[name] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return facts


def _about_sight(tree: Tree, shells_as_ourselves: bool) -> list[str]:
    said = []
    if tree.unreadable:
        listed = ", ".join(sorted(tree.unreadable))
        said.append(f"Not readable for this user, so values from there are missing: {listed}.")
    if shells_as_ourselves:
        said.append("Without root, the login shells were run as the current account, not as an unprivileged one.")
    return said
