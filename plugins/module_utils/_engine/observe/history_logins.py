# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Terminals' logins, and starts of the host: wtmp(5), and wtmpdb(8), which takes its place on newer releases."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..history import Login
from .utmp import RECORD, text

_RUN_LEVEL, _BOOT, _USER, _DEAD = 1, 2, 7, 8
# 16 MB hold 43,000 records.
_MOST = 1 << 24
_DB = "select User, TTY, RemoteHost, Login, Logout, Type from wtmp where coalesce(Logout, Login) >= ? order by Login"
_DB_BOOT, _DB_USER = 1, 3


class Logins(NamedTuple):
    logins: tuple[Login, ...] = ()
    starts: tuple[float, ...] = ()
    shutdowns: tuple[float, ...] = ()


def read_wtmp(path: str) -> Logins:
    """What wtmp has, the last 16 MB of it.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - size % RECORD.size - _MOST // RECORD.size * RECORD.size))
        return parse_wtmp(handle.read())


def parse_wtmp(data: bytes) -> Logins:
    """A login ends with the record of its terminal's end, or with the host's; a last record cut off is left out."""
    found: list[Login] = []
    starts: list[float] = []
    shutdowns: list[float] = []
    on: dict[str, int] = {}
    records = RECORD.iter_unpack(data[: len(data) - len(data) % RECORD.size])
    for kind, pid, line, _id, user, host, _end, _exit, _session, seconds, micro, _address in records:
        at, tty = seconds + micro / 1e6, text(line)
        if kind == _USER:
            on[tty] = len(found)
            found.append(Login(text(user), tty, text(host), pid, at))
        elif kind == _DEAD and tty in on:
            index = on.pop(tty)
            if found[index].pid == pid or not pid:
                found[index] = found[index]._replace(left_at=at)
        elif kind == _BOOT:
            starts.append(at)
            on.clear()
        elif kind == _RUN_LEVEL and text(user) == "shutdown":
            shutdowns.append(at)
    return Logins(tuple(found), tuple(starts), tuple(shutdowns))


def read_wtmpdb(path: str, since: float) -> Logins:
    """What wtmpdb has of sessions that were on at `since` or later.

    Raises:
        OSError: it cannot be read, or this Python has no sqlite3.
    """
    try:
        import sqlite3
    except ImportError as problem:
        raise OSError("this Python has no sqlite3") from problem
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2.0)
        try:
            rows = database.execute(_DB, (int(since * 1e6),)).fetchall()
        finally:
            database.close()
    except sqlite3.Error as problem:
        raise OSError(str(problem)) from problem
    logins, starts = [], []
    for user, tty, host, login, logout, kind in rows:
        if kind == _DB_USER:
            left_at = None if logout is None else logout / 1e6
            logins.append(Login(user, tty or "", host or "", None, login / 1e6, left_at))
        elif kind == _DB_BOOT:
            starts.append(login / 1e6)
    return Logins(tuple(logins), tuple(starts))
