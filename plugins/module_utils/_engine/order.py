# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator asks of a transaction, checked before anything is looked at."""

from __future__ import annotations

import grp
import pwd
import re
import typing as t
from dataclasses import dataclass

from .block import Markers
from .files import Refused

Argv = t.Tuple[str, ...]
# Seconds for `confirm_within`.
SHORTEST, LONGEST = 5, 3600


@dataclass(frozen=True)
class Wish:
    """What one file shall be like; None where it keeps what it has."""

    path: str
    present: bool
    # The whole file, or with `markers` the block in it; None only when it shall be absent.
    data: bytes | None
    markers: Markers | None
    insert: str
    create: bool
    mode: int | None
    uid: int | None
    gid: int | None


@dataclass(frozen=True)
class Logins:
    """How to ask sshd for a login, and as whom; who else a Match block names is read from the configuration."""

    config: str
    # What `sshd -T` says for ListenAddress, a line each.
    listen: str
    pid_file: str
    users: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Commands:
    validate: tuple[Argv, ...] = ()
    apply: tuple[Argv, ...] = ()
    verify: tuple[Argv, ...] = ()
    rescue: tuple[Argv, ...] = ()


STEPS = ("validate", "apply", "verify", "rescue")


@dataclass(frozen=True)
class Order:
    name: str
    wishes: tuple[Wish, ...]
    commands: Commands
    # Seconds in which somebody must confirm; 0: nobody needs to.
    confirm_within: int = 0
    logins: Logins | None = None
    forget: bool | None = None

    @property
    def away(self) -> bool:
        """It takes away what the transaction has put there."""
        if self.forget is not None:
            return self.forget
        return bool(self.wishes) and not any(wish.present for wish in self.wishes)


def read_order(params: t.Mapping[str, t.Any]) -> Order:
    """The order in the parameters of the module.

    Raises:
        Refused: with a sentence that says what to write instead.
    """
    name = params["name"]
    if not re.fullmatch(r"[a-z0-9_-]{1,64}", name):
        raise Refused(f"name {name!r}: use lower case letters, digits, - and _, at most 64 of them")
    if not params["files"]:
        raise Refused("files is empty: name at least one file")
    return Order(
        name,
        tuple(_wish(name, entry) for entry in params["files"]),
        read_commands(params),
        read_within(params.get("confirm_within")),
        read_logins(params.get("logins")),
        params.get("forget"),
    )


def read_commands(params: t.Mapping[str, t.Any]) -> Commands:
    """See `read_order`."""
    return Commands(**{step: _commands(step, params.get(step) or ()) for step in STEPS})


def read_within(within: int | None) -> int:
    """See `read_order`."""
    if within and not SHORTEST <= within <= LONGEST:
        raise Refused(
            f"confirm_within must be from {SHORTEST} to {LONGEST} seconds and not {within}, as coming back over a new "
            "connection takes a few of them; 0 does without"
        )
    return within or 0


def read_logins(logins: t.Mapping[str, t.Any] | None) -> Logins | None:
    """See `read_order`."""
    if not logins:
        return None
    return Logins(
        logins["config"], logins["listen"], logins["pid_file"], tuple(logins["users"]), tuple(logins["groups"])
    )


def _wish(name: str, entry: t.Mapping[str, t.Any]) -> Wish:
    path = entry["path"]
    if "\0" in path:
        raise Refused(f"path {path!r} holds a NUL character")
    content, block = entry["content"], entry["block"]
    present = entry["state"] == "present"
    if content is not None and block is not None:
        raise Refused(f"{path}: content is the whole file and block a part of one: give only one of them")
    if present and content is None and block is None:
        raise Refused(f"{path}: say with content or block what shall be in it, or state: absent")
    if present and block is not None and not block.strip():
        raise Refused(f"{path}: the block is empty: to take it away, say state: absent")
    comment = entry["comment"]
    if not comment.strip() or "\n" in comment or "\r" in comment:
        raise Refused(f"{path}: comment {comment!r} is not what a comment line can begin with")
    text = block if block is not None else content
    return Wish(
        path,
        present,
        text.encode("utf-8", "surrogateescape") if present else None,
        Markers.of(name, comment) if block is not None else None,
        entry["insert"],
        entry["create"],
        _mode(path, entry["mode"]),
        _id(path, "user", entry["owner"], lambda who: pwd.getpwnam(who).pw_uid),
        _id(path, "group", entry["group"], lambda who: grp.getgrnam(who).gr_gid),
    )


def _mode(path: str, mode: object) -> int | None:
    if mode is None:
        return None
    # A bare number is octal in one YAML and decimal in the next.
    if not isinstance(mode, str) or not re.fullmatch(r"[0-7]{3,4}", mode):
        raise Refused(f"{path}: mode {mode!r} is no mode: write it as a quoted octal number, for example '0644'")
    return int(mode, 8)


def _id(path: str, kind: str, who: str | None, look_up: t.Callable[[str], int]) -> int | None:
    if who is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", who):
        return int(who)
    try:
        return look_up(who)
    except (KeyError, ValueError):
        raise Refused(f"{path}: there is no {kind} {who!r} on this host") from None


def _commands(step: str, commands: t.Sequence[t.Any]) -> tuple[Argv, ...]:
    for command in commands:
        words_only = isinstance(command, (list, tuple)) and all(type(word) in (str, int, float) for word in command)
        if not words_only or not command or re.search(r"\s", str(command[0])) or not str(command[0]):
            raise Refused(
                f"{step}: {command!r} is no command: write each as a list of its words, as [/usr/sbin/sshd, -t]"
            )
        if any("\0" in str(word) for word in command):
            raise Refused(f"{step}: {command!r} holds a NUL character")
    return tuple(tuple(str(word) for word in command) for command in commands)
