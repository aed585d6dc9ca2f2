# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in somebody's home done as that very account, so that no link they put there leads root anywhere."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import typing as t
from dataclasses import dataclass

from .files import Refused

# A home on a network file system that does not answer must not hold us for ever.
LIMIT = 60.0


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def find_account(name: str | None) -> Account:
    """The account of that name; of this process if there is none.

    Raises:
        Refused: there is no such account, or this process may not become it.
    """
    try:
        found = pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
    except (KeyError, ValueError):
        raise Refused(f"there is no user {name or os.geteuid()!r} on this host") from None
    if os.geteuid() not in (0, found.pw_uid):
        raise Refused(f"only root can work as {found.pw_name}: run this with become: true, or as that user")
    groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
    return Account(found.pw_name, found.pw_uid, found.pw_gid, groups, found.pw_dir)


def as_user(account: Account, work: t.Callable[[], t.Any], limit: float = LIMIT) -> t.Any:
    """What `work` returns (plain JSON values), done in a child process that is `account` and nobody else any more.

    Raises:
        Refused: `work` refused, or failed (OSError), or took longer than `limit` seconds.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.close(reading)
            answer = json.dumps(_answer(account, work)).encode()
            with open(writing, "wb") as stream:
                stream.write(answer)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    try:
        said = _read(reading, limit)
        if said is None:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(reading)
        os.waitpid(pid, 0)
    if said is None:
        raise Refused(f"the home of {account.name} ({account.home}) did not answer within {limit:.0f} s")
    if not said:
        raise Refused(f"working as {account.name} ended without an answer")
    found = json.loads(said)
    if "refused" in found:
        raise Refused(found["refused"])
    return found["returned"]


def _answer(account: Account, work: t.Callable[[], t.Any]) -> dict[str, t.Any]:
    try:
        if os.geteuid() == 0:
            os.setgroups(account.groups)
            os.setgid(account.gid)
            os.setuid(account.uid)
        return {"returned": work()}
    except Refused as problem:
        return {"refused": str(problem)}
    except OSError as problem:
        where = os.fsdecode(problem.filename) if problem.filename else account.home
        return {"refused": f"{where}: {problem.strerror} (as {account.name}). Nothing was changed."}


def _read(fd: int, limit: float) -> bytes | None:
    """All that comes until the end, None if that does not come within `limit` seconds of silence."""
    parts: list[bytes] = []
    while select.select([fd], [], [], limit)[0]:
        part = os.read(fd, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return None
