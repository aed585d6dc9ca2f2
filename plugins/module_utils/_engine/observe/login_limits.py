# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits a login can hit: sshd's, pam_limits' maxlogins for each user, logind's."""

from __future__ import annotations

import glob
import os
import re
from typing import Any, Callable, Collection, Iterable

from ..model import PERSON_CLASSES, Observation
from .command import Command, Runner

_SYSTEM_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin", "LC_ALL": "C"}


def read_sshd(run: Runner) -> dict[str, str]:
    """`sshd -T`: effective keywords in lower case; empty where it can't be asked."""
    answer = run({"sshd": Command(("sshd", "-T"), env=_SYSTEM_PATH)})["sshd"]
    return dict(line.split(" ", 1) for line in answer.out.splitlines() if " " in line) if answer.rc == 0 else {}


def read_maxlogins(root: str) -> list[tuple[str, int | None]]:
    """(domain, maxlogins) in the order of reading (limits.conf(5)); ``-`` or ``unlimited`` is None."""
    folder = os.path.join(root, "etc/security")
    found: list[tuple[str, int | None]] = []
    for path in [
        os.path.join(folder, "limits.conf"),
        *sorted(glob.glob(os.path.join(glob.escape(folder), "limits.d", "*.conf"))),
    ]:
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                lines = handle.read(1 << 20).splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.partition("#")[0].split()
            if len(words) == 4 and words[2] == "maxlogins" and words[1] in ("hard", "soft", "-"):
                found.append((words[0], int(words[3]) if re.fullmatch(r"[0-9]{1,9}", words[3]) else None))
    return found


def maxlogins_of(user: str, groups: Iterable[str], entries: list[tuple[str, int | None]]) -> int | None:
    """What holds for `user`: a line for the user beats one for a group, and that one beats ``*``; then the last wins.

    pam_limits does not apply a wildcard or a group's line to root.
    """
    names = set(groups)
    best: tuple[int, int | None] = (0, None)
    for domain, value in entries:
        if domain == user:
            rank = 3
        elif user != "root" and domain.startswith("@") and domain[1:] in names:
            rank = 2
        elif user != "root" and domain == "*":
            rank = 1
        else:
            continue
        if rank >= best[0]:
            best = (rank, value)
    return best[1]


def login_limits(root: str, run: Runner, seen: Observation, groups: Callable[[str], Collection[str]]) -> dict[str, Any]:
    """What session_info returns as `limits`."""
    sshd, entries = read_sshd(run), read_maxlogins(root)
    most = sshd.get("maxsessions", "")
    users: dict[str, dict[str, Any]] = {}
    for session in seen.sessions:
        if session.user and (session.session_class is None or session.session_class in PERSON_CLASSES):
            limit = maxlogins_of(session.user, groups(session.user) if entries else (), entries)
            users.setdefault(session.user, {"logins": 0, "maxlogins": limit})["logins"] += 1
    return {
        "max_sessions": int(most) if most.isdigit() else None,
        "max_startups": sshd.get("maxstartups"),
        "unauthenticated": seen.unauthenticated,
        "sessions_max": seen.logind_limits[0],
        "sessions_now": seen.logind_limits[1],
        "users": users,
    }
