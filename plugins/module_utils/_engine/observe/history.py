# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a host keeps of sessions that ended, read and put together."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple

from ..history import OWN, Ending, InForce, Line, Source
from ..judge_history import SSHD, History, Query
from . import history_files, history_journal, history_logins
from .history_journal import NoJournal, Stream, stream
from .history_logins import Logins
from .shell import find_setters
from .sshd import parse_effective
from .sshd_config import sshd_seconds
from .tree import Tree

if TYPE_CHECKING:
    from .command import Answer, Command, Runner

# A shutdown that ends sessions at the end of the window shows in the next start.
_AFTERWARDS = 300.0
_MOST_BEGINNINGS = 500
_SETTLED_AFTER = 10_000  # lines
_WTMP, _WTMPDB = "var/log/wtmp", ("var/lib/wtmpdb/wtmp.db", "var/log/wtmp.db")


def _run(commands: Mapping[str, Command]) -> dict[str, Answer]:
    from .command import run_together

    return run_together(commands)


@dataclass(frozen=True)
class Places:
    """Where to look and how; the defaults are this host."""

    root: str = "/"
    patience: float = 120.0  # seconds that the journal has
    now: Callable[[], float] = time.time
    stream: Stream = stream
    run: Runner = _run


class Seen(NamedTuple):
    """`counts` is by cause, of all endings in the window, of which `endings` may be limited to the newest.

    `cursor` is the journal's, of the last line that was read.
    """

    endings: tuple[Ending, ...]
    sources: tuple[Source, ...]
    warnings: tuple[str, ...]
    counts: Mapping[str, int]
    cursor: str | None = None


def observe(places: Places, query: Query) -> Seen:
    """The endings that `query` asks for, the newest first, and where they were read."""
    logins, sources = _logins(places, query.since)
    history = History(logins.logins, logins.shutdowns, logins.starts, query)
    here = (places.now(), in_force(places), _leaders(places.root))
    counted = _Counted(history, lambda: history.settle(*here))
    warnings: list[str] = []
    until = query.until + _AFTERWARDS
    try:
        for line in history_journal.read(places.stream, places.patience, query.since, until):
            counted.read(line)
        pids = sorted(history.unbegun())[:_MOST_BEGINNINGS]
        history.read_beginnings(history_journal.read_beginnings(places.stream, places.patience, query.since, pids))
        why = None if counted.lines else "it has no such line"
        sources.insert(0, Source("journal", counted.lines, why, counted.cursor))
    except NoJournal as problem:
        sources.insert(0, Source("journal", None, str(problem)))
    if not counted.lines:
        sources.insert(1, _files(places, query.since, until, counted, warnings))
        history.read_beginnings(())
    sources += counted.sources()
    endings = tuple(history.endings(*here))
    if not counted.lines:
        warnings.append("no log of logins could be read: what is known is from wtmp, and it does not say why")
    return Seen(endings, tuple(sources), tuple(warnings), history.found.counts, counted.cursor)


class _Counted:
    """Hands lines on, and counts what they are; `settle` is called now and then."""

    def __init__(self, history: History, settle: Callable[[], None]) -> None:
        self.history, self.settle = history, settle
        self.lines = self.logind = self.own = 0
        self.cursor: str | None = None

    def read(self, line: Line) -> None:
        self.lines += 1
        self.logind += line.identifier == "systemd-logind"
        self.own += line.identifier in OWN
        self.cursor = line.cursor or self.cursor
        self.history.read(line)
        if self.lines % _SETTLED_AFTER == 0:
            self.settle()

    def sources(self) -> list[Source]:
        return [Source("logind", self.logind), Source("own", self.own)]


def _files(places: Places, since: float, until: float, counted: _Counted, warnings: list[str]) -> Source:
    names = history_files.names(places.root)
    problems = []
    for name in names:
        try:
            for line in history_files.read(name, since, until):
                counted.read(line)
        except (OSError, EOFError) as problem:
            problems.append(f"{name}: {problem}")
    if counted.lines:
        warnings.append(
            "there is no journal: lines of plain log files do not say who wrote them, so each of them may be forged"
        )
    why = "; ".join(problems) or (None if names else "there is no auth.log, secure or messages")
    return Source("files", counted.lines if names else None, why, counted.cursor)


def _logins(places: Places, since: float) -> tuple[Logins, list[Source]]:
    found = Logins()
    sources: list[Source] = []
    for name, path in [("wtmp", _WTMP), *(("wtmpdb", path) for path in _WTMPDB)]:
        path = os.path.join(places.root, path)
        if not os.path.exists(path) or any(source.name == name and source.lines for source in sources):
            continue
        try:
            read = history_logins.read_wtmp(path) if name == "wtmp" else history_logins.read_wtmpdb(path, since)
        except OSError as problem:
            sources.append(Source(name, None, problem.strerror or str(problem)))
            continue
        # Where both are kept, wtmp has the pids and wtmpdb the ends.
        logins = read.logins if name == "wtmp" else with_ends(found.logins, read.logins)
        found = Logins(logins, found.starts + read.starts, found.shutdowns + read.shutdowns)
        sources.append(Source(name, len(read.logins)))
    recent = tuple(login for login in found.logins if (login.left_at or since) >= since)
    return found._replace(logins=recent), sources


def with_ends(logins: tuple, others: tuple) -> tuple:
    """`logins` with the ends that `others` have of the same terminals; and those that only they have."""
    known = {(login.user, login.tty, round(login.at)): index for index, login in enumerate(logins)}
    merged = list(logins)
    for other in others:
        near = (known.get((other.user, other.tty, round(other.at) + off)) for off in (0, -1, 1))
        index = next((i for i in near if i is not None), None)
        if index is None:
            merged.append(other)
        elif merged[index].left_at is None:
            merged[index] = merged[index]._replace(left_at=other.left_at)
    return tuple(merged)


def in_force(places: Places) -> InForce:
    """What is in force now, as far as it tells one ending from another."""
    channel, grace = _of_sshd(places)
    return InForce(_shell_timeout(places.root), channel, grace)


def _of_sshd(places: Places) -> tuple[int | None, int | None]:
    from .command import Command

    binary = next((path for path in ("/usr/sbin/sshd", "/usr/bin/sshd") if os.path.exists(places.root + path)), None)
    if binary is None:
        return None, None
    said = places.run({"sshd": Command((binary, "-T"))})["sshd"].out
    values = parse_effective(said)
    channels = []
    for word in values.get("channeltimeout", "none").split():
        pattern, _sign, period = word.partition("=")
        if pattern.startswith(("session:", "session*", "*", "global")):
            channels.append(sshd_seconds(period) or 0)
    grace = values.get("logingracetime", "")
    return min(filter(None, channels), default=None), sshd_seconds(grace) or None


def _shell_timeout(root: str) -> int | None:
    """The shortest TMOUT that a start-up file of the shells sets."""
    values = (setter["value"] or "" for setter in find_setters(Tree(root)) if "TMOUT" in setter["text"])
    return min(filter(None, (int(value) for value in values if value.isdecimal())), default=None)


def _leaders(root: str) -> set[int]:
    """The pids of login programs that run now."""
    found = set()
    proc = os.path.join(root, "proc")
    for name in os.listdir(proc) if os.path.isdir(proc) else ():
        if name.isdecimal():
            try:
                with open(f"{proc}/{name}/comm", encoding="utf-8", errors="replace") as handle:
                    if handle.read().strip() in (*SSHD, "login"):
                        found.add(int(name))
            except OSError:
                continue
    return found
