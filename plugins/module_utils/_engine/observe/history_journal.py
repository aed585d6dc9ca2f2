# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the journal (journalctl(1), systemd.journal-fields(7)), never more than asked for, one at a time."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any, Callable, Iterable, Iterator, Sequence

from ..history import OWN, SHELL, Line
from ..judge_history import IDS_OF_LOGIND, OUT_OF_MEMORY, SHUTTING_DOWN, SSHD, STARTED, STOPPING

#: argv and seconds; the lines of what it says.
Stream = Callable[[Sequence[str], float], Iterator[bytes]]

# An identifier is anybody's to choose: where only root may use it, its uid is asked for as well.
_ROOT = "_UID=0"
_MATCHES = (
    *(f"SYSLOG_IDENTIFIER={name}" for name in ("login", "systemd-logind", *OWN)),
    _ROOT,
    "+",
    # These run as the user, too; _COMM is not there for a process that ended at once.
    *(f"SYSLOG_IDENTIFIER={name}" for name in (*SSHD, SHELL)),
    "+",
    *(f"MESSAGE_ID={name}" for name in (STOPPING, OUT_OF_MEMORY, STARTED)),
    "_PID=1",
    "+",
    f"MESSAGE_ID={SHUTTING_DOWN}",
    _ROOT,
)
_FACTS = ("SESSION_ID", "LEADER", "USERSPACE_USEC")
_OURS = ("outcome", "session", "logind_session", "user", "from", "kind", "tty", "age", "because", "reason", "survivors",
         "preserved")  # fmt: skip
FIELDS = (
    *("MESSAGE", "MESSAGE_ID", "SYSLOG_IDENTIFIER", "_UID", "_PID", "_COMM", "_EXE", "_SYSTEMD_SESSION"),
    *("_AUDIT_SESSION", "_BOOT_ID", "UNIT", "_SOURCE_REALTIME_TIMESTAMP"),
    *_FACTS,
    *(f"SESSIONOPS_{name.upper()}" for name in _OURS),
)
_NO_FACTS: dict[str, str] = {}
_UNSET_AUDIT = 4294967295
# How far back the beginnings of sessions are looked for, in lines.
_MOST_EARLIER = 50_000


class NoJournal(Exception):
    """There is none to read, and why."""


def stream(argv: Sequence[str], limit: float) -> Iterator[bytes]:
    """What a command says, line by line.

    Raises:
        NoJournal: it cannot be run, failed, or was not done after `limit` seconds and was stopped.
    """
    try:
        child = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"LC_ALL": "C"}
        )
    except OSError as problem:
        raise NoJournal(f"{argv[0]} cannot be run: {problem.strerror}") from problem
    late = threading.Event()

    def stop() -> None:
        late.set()
        child.kill()

    alarm = threading.Timer(limit, stop)
    alarm.start()
    try:
        yield from child.stdout  # type: ignore[misc]
        said = child.stderr.read().decode("utf-8", "replace").strip()  # type: ignore[union-attr]
        if late.is_set():
            raise NoJournal(f"{argv[0]} was not done after {limit:.0f} s and was stopped: ask for less time")
        if child.wait() != 0:
            raise NoJournal(said or f"{argv[0]} failed ({child.returncode})")
    finally:
        alarm.cancel()
        child.kill()
        child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()


def argv_of(since: float | None, until: float, matches: Sequence[str] = _MATCHES, *more: str) -> list[str]:
    bounds = [f"--until=@{until:.6f}", *([] if since is None else [f"--since=@{since:.6f}"])]
    fields = "--output-fields=" + ",".join(FIELDS)
    return ["journalctl", "--no-pager", "--quiet", "--output=json", fields, *bounds, *more, *matches]


def read(run: Stream, limit: float, since: float, until: float) -> Iterator[Line]:
    """The lines of sshd, login, logind, systemd and ours between two moments, in their order."""
    return _parsed(run(argv_of(since, until), limit))


def read_beginnings(run: Stream, limit: float, until: float, pids: Iterable[int]) -> list[Line]:
    """What the processes `pids` said before `until`: the beginnings of sessions that ended later."""
    own = sorted({f"_PID={pid}" for pid in pids})
    if not own:
        return []
    identifiers = [f"SYSLOG_IDENTIFIER={name}" for name in (*SSHD, "login")]
    leaders = [name.replace("_PID", "LEADER") for name in own]
    matches = [*identifiers, *own, _ROOT, "+", f"MESSAGE_ID={IDS_OF_LOGIND[0]}", *leaders, _ROOT]
    argv = argv_of(None, until, matches, "--reverse", f"--lines={_MOST_EARLIER}")
    return list(_parsed(run(argv, limit)))[::-1]


def _parsed(lines: Iterable[bytes]) -> Iterator[Line]:
    for text in lines:
        line = parse(text)
        if line:
            yield line


def parse(text: bytes) -> Line | None:
    """One entry of ``journalctl -o json``; None if it is none."""
    try:
        entry = json.loads(text)
        source = entry.get("_SOURCE_REALTIME_TIMESTAMP")
        at = int(source if isinstance(source, str) else entry["__REALTIME_TIMESTAMP"]) / 1e6
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    identifier = _text(entry.get("SYSLOG_IDENTIFIER")) or ""
    facts = {name.lower(): entry[name] for name in _FACTS if isinstance(entry.get(name), str)}
    if identifier in OWN:
        named = ((name, entry.get(f"SESSIONOPS_{name.upper()}")) for name in _OURS)
        facts.update((name, value) for name, value in named if isinstance(value, str))
    audit = _number(entry.get("_AUDIT_SESSION"))
    return Line(
        at,
        identifier,
        _number(entry.get("_PID")),
        _text(entry.get("MESSAGE")) or "",
        "journal",
        entry.get("__CURSOR"),
        _number(entry.get("_UID")),
        _text(entry.get("_COMM")),
        _text(entry.get("_EXE")),
        _text(entry.get("_SYSTEMD_SESSION")),
        None if audit == _UNSET_AUDIT else audit,
        _text(entry.get("_BOOT_ID")),
        _text(entry.get("MESSAGE_ID")),
        _text(entry.get("UNIT")),
        facts or _NO_FACTS,
    )


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def _text(value: Any) -> str | None:
    """A field's value: text, or a list of bytes where it is not printable; of several the first."""
    if isinstance(value, list) and value:
        if all(isinstance(byte, int) for byte in value):
            return bytes(byte & 255 for byte in value).decode("utf-8", "surrogateescape")
        return _text(value[0])
    return value if isinstance(value, str) else None
