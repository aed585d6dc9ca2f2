# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that only look, run side by side under one time limit.

An observer says what it needs to ask (`Command`), the caller runs everything at
once, the observer then reads the answers (`Answer`): on a host this costs as
much as the slowest question, not the sum.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import IO, Callable, Dict, Mapping

# A profile script that prints without end must not fill our memory.
MOST_OUTPUT = 1 << 20


@dataclass(frozen=True)
class Command:
    """argv to run; `program` when argv[0] is to differ from the file (login shells); `ids` = (uid, gid, groups)."""

    argv: tuple[str, ...]
    program: str | None = None
    ids: tuple[int, int, tuple[int, ...]] | None = None
    env: Mapping[str, str] = field(default_factory=lambda: {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)})


@dataclass(frozen=True)
class Answer:
    """What a command said. `rc` is None when it could not be started or did not end in time (`error` says which)."""

    rc: int | None
    out: str = ""
    err: str = ""
    error: str | None = None


Runner = Callable[[Mapping[str, Command]], Dict[str, Answer]]


def run_together(commands: Mapping[str, Command], limit: float = 5.0) -> dict[str, Answer]:
    """Run all `commands` at once; what is not done after `limit` seconds is stopped, with all of its session."""
    answers: dict[str, Answer] = {}
    running: dict[str, subprocess.Popen[bytes]] = {}
    output: dict[tuple[str, str], list[bytes]] = {}
    with selectors.DefaultSelector() as waiting:
        for key, command in commands.items():
            try:
                child = _start(command)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                answers[key] = Answer(None, error=f"{command.program or command.argv[0]} could not be run: {error}")
                continue
            running[key] = child
            for name, stream in (("out", child.stdout), ("err", child.stderr)):
                output[key, name] = []
                waiting.register(stream, selectors.EVENT_READ, (key, name))  # type: ignore[arg-type]
        end = time.monotonic() + limit
        while waiting.get_map() and time.monotonic() < end:
            ready = waiting.select(min(0.05, max(0.0, end - time.monotonic())))
            for found, _events in ready:
                _drain(waiting, found.fileobj, output[found.data])  # type: ignore[arg-type]
            if not ready:
                # What a finished command left in the background may hold its pipes for ever.
                for stay in list(waiting.get_map().values()):
                    if _has_ended(running[stay.data[0]]):
                        waiting.unregister(stay.fileobj)
        while time.monotonic() < end and not all(map(_has_ended, running.values())):
            time.sleep(0.005)  # their output has ended, they are about to
        in_time = {key for key, child in running.items() if _has_ended(child)}
    # Before anything is reaped: until then no stranger can have one of these session ids.
    _end_sessions({child.pid for child in running.values()})
    for key, child in running.items():
        rc = child.wait()
        out, err = (b"".join(output[key, name]).decode("utf-8", "replace") for name in ("out", "err"))
        late = None if key in in_time else "it did not answer in time and was stopped"
        answers[key] = Answer(rc if key in in_time else None, out, err, late)
        for opened in (child.stdout, child.stderr):
            if opened is not None:
                opened.close()
    return answers


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Without reaping it."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_sessions(sids: set[int]) -> None:
    """KILL every process of these sessions (field 6 of /proc/PID/stat): shells give their jobs groups of their own."""
    if not sids:
        return
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
            if int(fields[3]) in sids and fields[0] != b"Z":
                os.kill(int(name), signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue  # gone between two reads


def _start(command: Command) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        command.argv,
        executable=command.program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(command.env),
        cwd="/",
        start_new_session=True,  # no controlling terminal: an interactive shell must not take ours
        preexec_fn=_becoming(command.ids) if command.ids else None,
    )


def _becoming(ids: tuple[int, int, tuple[int, ...]]) -> Callable[[], None]:
    def become() -> None:
        uid, gid, groups = ids
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)

    return become


def _drain(waiting: selectors.BaseSelector, stream: IO[bytes], parts: list[bytes]) -> None:
    part = os.read(stream.fileno(), 65536)
    if part and sum(map(len, parts)) < MOST_OUTPUT:
        parts.append(part)
    else:
        waiting.unregister(stream)
        stream.close()
