# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When tmux and screen lock, with what, and what else decides whether work in them survives.

tmux is asked itself: a server of its own reads /etc/tmux.conf and shows its options. It lives in a PID namespace that
ends with the question, and has an empty /tmp there, so that nothing of it stays and nobody's socket is in its way. It
runs as nobody (and as each exempt account): commands in the file run with no privileges. screen can't be asked that;
its file is read.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import asdict, dataclass, field
from typing import Any, Mapping

from ..platforms.platform import Platform
from ..shells_file import KEPT, PATH, judge_shells
from .command import Answer, Command
from .shell import NOBODY
from .tree import Tree, our_lines

TMUX_CONFIG = "/etc/tmux.conf"
SCREEN_CONFIG = "/etc/screenrc"
LINGER = "/var/lib/systemd/linger"
LOCKER = "vlock"
_ALONE = (
    "mount -t tmpfs tmpfs /tmp || exit; uid=$1 gid=$2; shift 2; "
    'exec setpriv --reuid="$uid" --regid="$gid" --init-groups "$@"'
)
_OPTION = re.compile(r"^(lock-after-time|lock-command) (.*)$", re.M)
_KEY = re.compile(r"^bind-key +(?:-r +)?-T +(\S+) +(\S+) +lock-(?:session|client|server)\b", re.M)
_SET = re.compile(r"\s*set(?:-option)?\s+(?:-\w+\s+)*-\w*g\w*\s+(?:-\w+\s+)*(lock-after-time|lock-command)\s+(.+?)\s*$")
_IDLE = re.compile(r"\s*idle\s+(\d{1,9}|off)(?:\s+(\S.*?))?\s*$")


@dataclass(frozen=True)
class Multiplexer:
    """See RETURN of policy_info for what the fields mean."""

    tmux: dict[str, Any] = field(default_factory=dict)
    screen: dict[str, Any] = field(default_factory=dict)
    locker: str | None = None
    locker_package: str = ""
    shells: dict[str, Any] = field(default_factory=dict)
    linger: dict[str, bool] = field(default_factory=dict)
    no_password: list[str] = field(default_factory=list)


def questions(tree: Tree, root: bool, users: Mapping[str, tuple[int, int, tuple[int, ...]]]) -> dict[str, Command]:
    """`users` are exempt accounts (name → uid, gid, groups). Only root can make the namespaces."""
    tmux = tree.program("tmux")
    if not tmux or not root:
        return {}
    asked = {"tmux.options": _ask(tree, tmux, NOBODY, NOBODY)}
    asked.update({f"tmux.options.{name}": _ask(tree, tmux, uid, gid) for name, (uid, gid, _groups) in users.items()})
    return asked


def _ask(tree: Tree, tmux: str, uid: int, gid: int) -> Command:
    load = ("source-file", TMUX_CONFIG, ";") if tree.exists(TMUX_CONFIG) else ()
    shows = (*load, "show-options", "-g", ";", "list-keys")
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ALONE, "sh", str(uid), str(gid))
    env = {"HOME": "/nonexistent", "LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "SHELL": "/bin/sh"}
    return Command((*alone, tmux, "-f", "/dev/null", "start-server", ";", *shows), env=env)


def observe_multiplexer(tree: Tree, platform: Platform, answers: Mapping[str, Answer]) -> Multiplexer:
    tmux, screen = tree.program("tmux"), tree.program("screen")
    return Multiplexer(
        tmux=_observe_tmux(tree, tmux, answers),
        screen={"program": screen, "config": SCREEN_CONFIG, **read_screenrc(tree)},
        locker=tree.program(LOCKER),
        locker_package=platform.locker_package,
        shells=asdict(judge_shells(tree.read(PATH), tree.read(KEPT))),
        linger={os.path.basename(path): _is_ours(tree, path) for path in tree.glob(LINGER + "/*")},
        no_password=without_password(tree),
    )


def _is_ours(tree: Tree, path: str) -> bool:
    return any("sessionops.policy" in line for line in tree.lines(path))


def _observe_tmux(tree: Tree, program: str | None, answers: Mapping[str, Answer]) -> dict[str, Any]:
    prefix = "tmux.options."
    return {
        "program": program,
        "config": TMUX_CONFIG,
        "config_mode": _mode(tree, TMUX_CONFIG),
        **parse_tmux(tree, answers.get("tmux.options", Answer(None, error="only root can ask a tmux of its own"))),
        "by_user": {
            key[len(prefix) :]: parse_tmux(tree, answer) for key, answer in answers.items() if key.startswith(prefix)
        },
        "sources": tmux_sources(tree),
    }


def _mode(tree: Tree, path: str) -> str | None:
    try:
        return f"{stat.S_IMODE(os.stat(tree.place(path)).st_mode):04o}"
    except OSError:
        return None


def parse_tmux(tree: Tree, answer: Answer) -> dict[str, Any]:
    """`show-options -g` and `list-keys`: seconds (0 is never), the command and whether there is such a program."""
    options = dict(_OPTION.findall(answer.out))
    after, command = options.get("lock-after-time", ""), _unquoted(options.get("lock-command", ""))
    words = command.split()
    known = after.isdecimal() and len(after) <= 10
    said = answer.err.strip().splitlines()
    why = answer.error or (said[-1] if said else f"it ended with code {answer.rc}")
    return {
        "lock_after_time": int(after) if known else None,
        "lock_command": command or None,
        "lock_command_exists": bool(words) and _is_there(tree, words[0]),
        "lock_keys": [f"{table} {key}" for table, key in _KEY.findall(answer.out)],
        # What it said about its configuration, although it could show its options.
        "complaint": said[-1] if known and said else None,
        "error": None if known else why,
    }


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'" else text


def _is_there(tree: Tree, program: str) -> bool:
    return tree.is_program(program) if program.startswith("/") else tree.program(program) is not None


def tmux_sources(tree: Tree) -> dict[str, dict[str, Any]]:
    """Per option, the last line of /etc/tmux.conf that sets it globally, which is the one that holds."""
    lines = tree.lines(TMUX_CONFIG)
    ours = our_lines(TMUX_CONFIG, lines)
    found = {}
    for number, line in enumerate(lines, 1):
        setting = _SET.match(line)
        if setting:
            place = {"source": f"{TMUX_CONFIG}:{number}", "value": _unquoted(setting.group(2)), "ours": number in ours}
            found[setting.group(1)] = place
    return found


def read_screenrc(tree: Tree) -> dict[str, Any]:
    """Seconds without a key after which screen locks itself, and the last line that says so."""
    lines = tree.lines(SCREEN_CONFIG)
    ours = our_lines(SCREEN_CONFIG, lines)
    found: dict[str, Any] = {"idle": None, "source": None, "text": None, "ours": False}
    command = ""
    for number, line in enumerate(lines, 1):
        said = _IDLE.match(line.partition("#")[0])
        if not said:
            continue
        command = said.group(2) or command
        locks = said.group(1) != "off" and command.split()[:1] == ["lockscreen"]
        found = {
            "idle": (int(said.group(1)) or None) if locks else None,
            "source": f"{SCREEN_CONFIG}:{number}",
            "text": line.strip()[:200],
            "ours": number in ours,
        }
    return found


def without_password(tree: Tree) -> list[str]:
    """People (uid 1000 and up) whose account has no usable password, so that they can't unlock anything."""
    people = set()
    for line in tree.lines("/etc/passwd"):
        parts = line.split(":")
        person = len(parts) == 7 and parts[2].isdecimal() and 1000 <= int(parts[2]) < NOBODY
        if person and not parts[6].endswith(("/nologin", "/false")):
            people.add(parts[0])
    fields = [line.split(":") for line in tree.lines("/etc/shadow")]
    return [parts[0] for parts in fields if len(parts) > 1 and parts[0] in people and parts[1][:1] in ("!", "*")]
