# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TMOUT and autologout as real shells see them, and every file that sets them.

Each shell is started as login would start it (argv[0] with a dash, interactive), with a clean
environment and /etc/skel as its home, so that it reads what a new user's shell would read and
nobody's own dot files. Root starts them as nobody: no profile script runs with privileges on our account.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ..platforms.platform import Platform
from .command import Answer, Command
from .tree import Tree, our_lines

NAMES = {
    "bash": ("bash",),
    "ksh": ("ksh", "ksh93"),
    "zsh": ("zsh",),
    "dash": ("dash",),
    "mksh": ("mksh",),
    "tcsh": ("tcsh",),
    "csh": ("csh",),
    "fish": ("fish",),
}
# Shells that end an idle prompt at TMOUT; tcsh does it at autologout, the rest have nothing.
TMOUT_SHELLS = ("bash", "ksh", "zsh", "mksh")
NOBODY = 65534

_MARK = "@policy_info@"
# The assignment is tried in a subshell: failing there is silent and harmless even in dash.
_SH = (
    f"printf '\\n{_MARK}%s@' \"${{TMOUT-}}\"; "
    "if (TMOUT=1) 2>/dev/null; then printf 'rw@'; else printf 'ro@'; fi; "
    '/bin/sh -c \'printf "%s@end\\n" "${TMOUT+exported}"\''
)
# csh expands a whole line before it looks at `if`: eval holds the variable back.
_CSH = f'set policy_info=""; if ($?autologout) eval \'set policy_info="$autologout"\'; echo "{_MARK}$policy_info@end"'
_ANSWER = re.compile(re.escape(_MARK) + r"([^@\n]*)@(?:(r[wo])@)?(exported)?(?:@?)end")

_ASSIGNED = re.compile(r"\bTMOUT=([^\s;&|)]*)")
_NAMED = re.compile(r"\b(?:readonly|export|unset|typeset|declare)\b[^;#]*(?<![$\w{])TMOUT\b")
_CSH_SET = re.compile(r"\b(?:un)?set\b[^;#]*?\bautologout\b(?:\s*=\s*([^;#]*))?")
_SETTER_FILES = (
    "/etc/environment",
    "/etc/security/pam_env.conf",
    "/etc/login.defs",
    "/etc/profile",
    "/etc/profile.local",
    "/etc/profile.d/*",
    "/etc/bash.bashrc",
    "/etc/bash.bashrc.local",
    "/etc/bashrc",
    "/etc/bash/bashrc",
    "/etc/bash/*.sh",
    "/etc/bashrc.d/*",
    "/etc/ksh.kshrc",
    "/etc/kshrc",
    "/etc/mkshrc",
    "/etc/suid_profile",
    "/etc/zsh/*",
    "/etc/zshenv",
    "/etc/zprofile",
    "/etc/zshrc",
    "/etc/zlogin",
    "/etc/csh.cshrc",
    "/etc/csh.login",
    "/etc/csh/*/*",
    "/etc/fish/config.fish",
    "/etc/fish/conf.d/*",
    "/etc/skel/.*",
    "/usr/etc/profile",
    "/usr/etc/profile.d/*",
    "/usr/etc/bash.bashrc",
)


@dataclass(frozen=True)
class Shell:
    """See RETURN of policy_info for what the fields mean."""

    shells: dict[str, str | None] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    login: dict[str, dict[str, Any]] = field(default_factory=dict)
    non_login: dict[str, dict[str, Any]] = field(default_factory=dict)
    login_by_user: dict[str, dict[str, Any]] = field(default_factory=dict)
    login_shells_of: dict[str, list[str]] = field(default_factory=dict)
    setters: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_shells(tree: Tree) -> dict[str, str | None]:
    """Path of each kind of shell. A link to a shell of another kind (csh → tcsh) counts as that other."""
    found = {kind: tree.program(*names) for kind, names in NAMES.items()}
    for kind, other in (("csh", "tcsh"), ("ksh", "mksh"), ("dash", "bash")):
        path = found[kind]
        if path and os.path.basename(os.path.realpath(tree.place(path))).startswith(other):
            found[kind] = None
    return found


def questions(
    shells: Mapping[str, str | None], root: bool, home: str, users: Mapping[str, tuple[int, int, tuple[int, ...]]]
) -> dict[str, Command]:
    """`users` are people (name → uid, gid, groups) whose login bash is asked for too; only root can."""
    asked: dict[str, Command] = {}
    nobody = (NOBODY, NOBODY, ()) if root else None
    for kind in (*TMOUT_SHELLS, "dash"):
        path = shells.get(kind)
        if path:
            asked[f"shell.login.{kind}"] = _start(path, ("-" + kind, "-i", "-c", _SH), nobody, home, "nobody")
    bash = shells.get("bash")
    if bash:
        asked["shell.non_login.bash"] = _start(bash, ("bash", "-i", "-c", _SH), nobody, home, "nobody")
        for name, ids in users.items() if root else ():
            asked[f"shell.user.{name}"] = _start(bash, ("-bash", "-i", "-c", _SH), ids, home, name)
    tcsh = shells.get("tcsh")
    if tcsh:
        asked["shell.login.tcsh"] = _start(tcsh, ("-tcsh", "-c", _CSH), nobody, home, "nobody")
    return asked


def _start(
    path: str, argv: tuple[str, ...], ids: tuple[int, int, tuple[int, ...]] | None, home: str, user: str
) -> Command:
    env = {
        "HOME": home,
        "LC_ALL": "C",
        "LOGNAME": user,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "SHELL": path,
        "TERM": "dumb",
        "USER": user,
    }
    return Command(argv, program=path, ids=ids, env=env)


def parse_answer(answer: Answer) -> dict[str, Any]:
    """What one shell said. An empty TMOUT is as good as none."""
    found = next(reversed(list(_ANSWER.finditer(answer.out))), None)
    if not found:
        said = [line for line in answer.err.splitlines() if line.strip()]
        why = answer.error or (said[-1].strip() if said else f"it ended with code {answer.rc}")
        return {"tmout": None, "readonly": None, "exported": None, "error": why}
    value, access, exported = found.groups()
    number = int(value) if re.fullmatch(r"[0-9]{1,10}", value.strip()) else None
    odd = f"TMOUT is {value!r}, which is no number of seconds" if number is None and value.strip() else None
    return {"tmout": number, "readonly": access == "ro", "exported": exported is not None, "error": odd}


def parse_csh_answer(answer: Answer) -> dict[str, Any]:
    """autologout is in minutes, and may carry a second number (when to lock)."""
    plain = parse_answer(answer)
    found = _ANSWER.search(answer.out)
    words = found.group(1).split() if found else []
    minutes = int(words[0]) if words and re.fullmatch(r"[0-9]{1,8}", words[0]) else None
    return {
        "autologout_minutes": minutes,
        "tmout": None if minutes is None else minutes * 60,
        "readonly": None,
        "exported": None,
        "error": None if found else plain["error"],
    }


def find_setters(tree: Tree) -> list[dict[str, Any]]:
    """Every line of a shell's start-up files that names TMOUT or autologout, with the value where it is plain."""
    setters = []
    seen = set()
    for pattern in _SETTER_FILES:
        for path in tree.glob(pattern):
            place = os.path.realpath(tree.place(path))
            if place in seen or tree.is_dir(path):
                continue
            seen.add(place)
            text = tree.read(path) or ""
            if "TMOUT" not in text and "autologout" not in text:
                continue
            lines = text.split("\n")
            ours = our_lines(path, lines)
            for number, line in enumerate(lines, 1):
                statement = line[:4096].partition("#")[0]
                found = _ASSIGNED.search(statement) or _CSH_SET.search(statement)
                if found or _NAMED.search(statement):
                    value = (found.group(1) or "").strip("\"'() \t") if found else ""
                    setters.append(
                        {
                            "source": f"{path}:{number}",
                            "text": line.strip()[:200],
                            "value": value or None,
                            "ours": number in ours,
                        }
                    )
    return setters


def login_shells(tree: Tree, shells: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Which people (root, and uids from 1000 on, of /etc/passwd) log in with which kind of shell."""
    kinds = {os.path.realpath(tree.place(path)): kind for kind, path in shells.items() if path}
    people: dict[str, list[str]] = {}
    for line in tree.lines("/etc/passwd"):
        parts = line.split(":")
        if len(parts) != 7 or not parts[2].isdecimal() or not (parts[2] == "0" or 1000 <= int(parts[2]) < NOBODY):
            continue
        kind = kinds.get(os.path.realpath(tree.place(parts[6]))) if parts[6].startswith("/") else None
        if kind:
            people.setdefault(kind, []).append(parts[0])
    return people


def observe_shell(
    tree: Tree,
    platform: Platform,
    shells: Mapping[str, str | None],
    users: Sequence[str],
    answers: Mapping[str, Answer],
) -> Shell:
    login = {
        kind: (parse_csh_answer if kind == "tcsh" else parse_answer)(answers[f"shell.login.{kind}"])
        for kind in (*TMOUT_SHELLS, "dash", "tcsh")
        if f"shell.login.{kind}" in answers
    }
    non_login = {"bash": parse_answer(answers["shell.non_login.bash"])} if "shell.non_login.bash" in answers else {}
    zshrc = tree.first(*platform.zshrcs) or platform.zshrcs[0]
    return Shell(
        shells=dict(shells),
        files={
            "profile_dir": platform.profile_dir,
            "bashrc": tree.first(*platform.bashrcs) or platform.bashrcs[0],
            # A shell that was removed leaves its file behind, with what is ours in it.
            "zsh": [zshrc] if shells.get("zsh") or tree.exists(zshrc) else None,
            "csh": platform.cshrc if shells.get("tcsh") or shells.get("csh") or tree.exists(platform.cshrc) else None,
            "csh_dir": platform.csh_dir,
            "csh_suffix": platform.csh_suffix,
        },
        login=login,
        non_login=non_login,
        login_by_user={
            name: parse_answer(answers[f"shell.user.{name}"]) for name in users if f"shell.user.{name}" in answers
        },
        login_shells_of=login_shells(tree, shells),
        setters=find_setters(tree),
        warnings=[
            f"What TMOUT is in a {way} {kind} is not known: {seen['error']}."
            for way, group in (("login", login), ("non-login", non_login))
            for kind, seen in group.items()
            if seen["error"] and seen["tmout"] is None
        ],
    )
