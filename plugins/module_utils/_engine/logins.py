# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the running sshd for logins without credentials: whoever is refused has got through to sshd's answer.

The client asks for the method `none` (RFC 4252, 5.2) and nothing else, which sshd answers when it has looked up the
user and the Match blocks that hold for them: ``Permission denied`` is the path alive, a connection that is closed
before is dead. What comes after the answer (the account, the session) only a real login can show.
"""

from __future__ import annotations

import concurrent.futures
import fnmatch
import grp
import os
import pwd
import re
import shutil
import socket
import typing as t
from dataclasses import dataclass

from . import files
from .files import World
from .observe.sshd_config import read_config
from .observe.tree import Tree
from .order import Logins

# Of a group's members, or of the accounts that a pattern fits, how many are asked for.
MOST_MEMBERS = 5
# Seconds for one login, and for sshd to be there after it was told to read its files.
LOGIN_LIMIT = 10.0
PATIENCE = 5.0
_AT_ONCE = 3
# sshd drops connections at random when there are many (MaxStartups) and turns away who failed often before.
_BUSY = re.compile(r"Exceeded MaxStartups|Not allowed at this time")
_ANSWERED = re.compile(r"Permission denied|Too many authentication failures")


@dataclass(frozen=True)
class Connection:
    """The ssh connection that this process was started over; `key` tells it from any other one."""

    key: str
    user: str | None
    address: str | None
    port: int


def own_connection(proc: str = "/proc") -> Connection | None:
    """None if no sshd is among this process's ancestors."""
    pid, address, port = "self", None, 22
    while True:
        try:
            with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as stream:
                head, _parenthesis, tail = stream.read().rpartition(")")
            fields = tail.split()
            if head.partition("(")[2].startswith("sshd"):
                with open(f"{proc}/sys/kernel/random/boot_id", encoding="ascii") as stream:
                    boot = stream.read().strip()
                key = f"{boot}:{pid}:{fields[19]}"
                return Connection(key, _user(proc, pid), address, port)
            if address is None:
                with open(f"{proc}/{pid}/environ", "rb") as environ:
                    found = re.search(rb"(?:^|\0)SSH_CONNECTION=\S+ \d+ (\S+) (\d{1,5})\0", environ.read())
                if found:
                    address, port = found.group(1).decode("ascii", "replace"), int(found.group(2))
            pid = fields[1]
        except (OSError, IndexError):
            return None
        if pid in ("0", "1"):
            return None


def _user(proc: str, pid: str) -> str | None:
    """Whose processes a connection's sshd runs; of a user's own sshd /proc/PID belongs to root."""
    try:
        with open(f"{proc}/{pid}/status", encoding="utf-8", errors="replace") as stream:
            found = re.search(r"^Uid:\s+(\d+)", stream.read(), re.MULTILINE)
        return pwd.getpwuid(int(found.group(1))).pw_name if found else None
    except (OSError, KeyError):
        return None


def listening(listen: str) -> tuple[str, int]:
    """Where to reach an sshd with these ListenAddress lines of `sshd -T` from this host."""
    for line in listen.split("\n"):
        found = re.fullmatch(r"\[?([0-9A-Fa-f.:%\w]+?)\]?:(\d{1,5})", line.strip())
        if found:
            wild = {"0.0.0.0": "127.0.0.1", "::": "::1"}
            return wild.get(found.group(1), found.group(1)), int(found.group(2))
    return "127.0.0.1", 22


# --- who ----------------------------------------------------------------------------------------------------------


def who(logins: Logins, own: str | None, tree: Tree | None = None) -> list[str]:
    """The accounts to ask for: our own, the ones named, and those that a Match block is about."""
    names = [own] if own else []
    names += logins.users
    for group in logins.groups:
        names += _members(group)
    matches = {setting.match for setting in read_config(tree or Tree(), logins.config).settings if setting.match}
    for criteria in sorted(matches):
        words = criteria.split()
        for keyword, patterns in zip(words[::2], words[1::2]):
            if keyword.lower() == "user":
                names += _accounts(patterns.split(","))
            elif keyword.lower() == "group":
                for entry in [g.gr_name for g in grp.getgrall() if _fits(g.gr_name, patterns.split(","))][
                    :MOST_MEMBERS
                ]:
                    names += _members(entry)
    return [name for name in dict.fromkeys(names) if _exists(name)]


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        return False
    return True


def _accounts(patterns: t.Sequence[str]) -> list[str]:
    """The accounts that are named, and some of those that the patterns with wildcards fit."""
    named = [pattern for pattern in patterns if not set(pattern) & set("*?!")]
    wild = [pattern for pattern in patterns if set(pattern) & set("*?")]
    if not wild:
        return named
    fitting = [entry.pw_name for entry in pwd.getpwall() if _fits(entry.pw_name, patterns)]
    return [*named, *[name for name in fitting if name not in named][:MOST_MEMBERS]]


def _fits(name: str, patterns: t.Sequence[str]) -> bool:
    """match_pattern_list() of OpenSSH: one that is negated wins."""
    if any(pattern.startswith("!") and fnmatch.fnmatchcase(name, pattern[1:]) for pattern in patterns):
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _members(group: str) -> list[str]:
    try:
        found = grp.getgrnam(group)
    except (KeyError, ValueError):
        return []
    first = (entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == found.gr_gid)
    return sorted({*found.gr_mem, *first})[:MOST_MEMBERS]


# --- asking -------------------------------------------------------------------------------------------------------


def read_at(logins: Logins) -> int | None:
    """When the running sshd read its configuration: it writes its pid file then."""
    try:
        return os.stat(logins.pid_file).st_mtime_ns
    except OSError:
        return None


def answers(world: World, address: str, port: int, patience: float = PATIENCE) -> bool:
    """Whether an sshd greets whoever connects, within `patience` seconds."""
    end = world.now() + patience
    while True:
        try:
            with socket.create_connection((address, port), 2) as connection:
                connection.settimeout(2)
                if connection.recv(4) == b"SSH-":
                    return True
        except OSError:
            pass
        if world.now() > end:
            return False
        world.sleep(0.1)


def dead(
    world: World,
    logins: Logins,
    own: str | None,
    address: str,
    port: int,
    former: int | None,
    attempts: int = 3,
    patience: float = PATIENCE,
) -> str | None:
    """The sentence about logins that do not get through to sshd's answer; None if all do.

    Args:
        former: `read_at` before sshd was told to read its files anew.
    """
    end = world.now() + min(2, patience)
    while former is not None and read_at(logins) in (former, None) and world.now() < end:
        world.sleep(0.02)
    since = world.clock() - 1
    if not answers(world, address, port, patience):
        return f"nobody answers at {address} port {port} any more{_log(world, since - 60)}"
    ssh = shutil.which("ssh", path=files.search_path())
    if not ssh:
        return None

    def one(user: str) -> tuple[str, str | None]:
        return user, _ask(world, [ssh or "ssh", *_OPTIONS, "-p", str(port), "-l", user, address, "true"], attempts)

    users = who(logins, own)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        said = [(user, words) for user, words in pool.map(one, users) if words]
    if not said:
        return None
    each = "; ".join(f"{user}: {words}" for user, words in said)
    return f"a login does not get through to sshd's answer for {each}{_log(world, since)}"


_OPTIONS = [
    *("-F", "/dev/null", "-n", "-T"),
    *(
        f"-o{option}"
        for option in (
            "BatchMode=yes",
            "PreferredAuthentications=none",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "ConnectTimeout=5",
            "ControlPath=none",
        )
    ),
]


def _ask(world: World, argv: t.Sequence[str], attempts: int) -> str | None:
    """What the client said at the last of several attempts that failed; None if one got through."""
    words = ""
    for attempt in range(attempts):
        if attempt:
            world.sleep(0.5 * attempt)
        outcome = world.ask(argv, LOGIN_LIMIT)
        if outcome.ok or _ANSWERED.search(outcome.words):
            return None
        words = outcome.words
    lines = [line for line in words.splitlines() if not line.startswith("Warning: Permanently added")]
    # A daemon too busy to answer is no proof of a policy that locks out.
    return None if _BUSY.search(words) else " ".join(lines) or "no answer"


def _log(world: World, since: float) -> str:
    """What sshd wrote into the journal about it, if there is one."""
    program = shutil.which("journalctl", path=files.search_path())
    if not program:
        return ""
    tags = [f"--identifier={name}" for name in ("sshd", "sshd-session", "sshd-auth")]
    outcome = world.ask(
        [program, "--quiet", "--no-pager", "--output=cat", "--priority=err", f"--since=@{since:.0f}", *tags], 5
    )
    # Whoever only looks for a greeting, as `answers` does, leaves a line that says nothing.
    said = [line for line in outcome.words.splitlines() if "kex_exchange_identification" not in line]
    lines = list(dict.fromkeys(said)) if outcome.ok else []
    return f" (sshd: {'; '.join(lines[-2:])})" if lines else ""
