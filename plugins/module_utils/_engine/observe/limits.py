# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""maxlogins of pam_limits: limits.conf, then limits.d in byte order; of lines for the same domain the last wins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .tree import Tree, our_lines

_FOLDERS = ("/etc/pam.d", "/usr/etc/pam.d", "/usr/lib/pam.d")


@dataclass(frozen=True)
class Limits:
    """`active`: whether sshd's PAM stack has pam_limits (None if the stack cannot be read)."""

    maxlogins: dict[str, Any]
    active: bool | None


def read_maxlogins(tree: Tree) -> dict[str, Any]:
    """What holds for everybody (domain ``*``)."""
    entries: list[dict[str, Any]] = []
    main = tree.first("/etc/security/limits.conf", "/usr/etc/security/limits.conf")
    for path in ([main] if main else []) + tree.glob("/etc/security/limits.d/*.conf"):
        lines = tree.lines(path)
        ours = our_lines(path, lines)
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if len(words) != 4 or words[0] != "*" or words[2] != "maxlogins" or words[1] not in ("hard", "soft", "-"):
                continue
            value = int(words[3]) if re.fullmatch(r"[0-9]{1,9}", words[3]) else None
            entries.append({"value": value, "source": f"{path}:{number}", "ours": number in ours})
    if not entries:
        return {"value": None, "source": None, "ours": False, "overridden": []}
    return {**entries[-1], "overridden": entries[-2::-1]}


def pam_limits_active(tree: Tree, service: str = "sshd") -> bool | None:
    return _has_pam_limits(tree, service, set())


def _has_pam_limits(tree: Tree, service: str, seen: set[str]) -> bool | None:
    path = tree.first(*(f"{folder}/{service}" for folder in _FOLDERS))
    if path is None or path in seen:
        return None
    seen.add(path)
    text = tree.read(path)
    if text is None:
        return None
    for line in text.replace("\\\n", " ").split("\n"):
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] == "@include":
            included: str | None = words[1]
        elif len(words) >= 3 and words[0].lstrip("-") == "session":
            if words[1] not in ("include", "substack"):
                if any(w.endswith("pam_limits.so") for w in words[2:]):
                    return True
                continue
            included = words[2]
        else:
            continue
        if included and re.fullmatch(r"[\w.-]+", included) and _has_pam_limits(tree, included, seen):
            return True
    return False


def observe_limits(tree: Tree) -> Limits:
    return Limits(read_maxlogins(tree), pam_limits_active(tree))
