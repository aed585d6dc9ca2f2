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
    """Run all `commands` at once; what is not done after `limit` seconds is killed with its process group."""
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
                assert stream is not None
                output[key, name] = []
                waiting.register(stream, selectors.EVENT_READ, (key, name))
        end = time.monotonic() + limit
        while waiting.get_map() and time.monotonic() < end:
            for ready, _events in waiting.select(max(0.0, end - time.monotonic())):
                _drain(waiting, ready.fileobj, output[ready.data])  # type: ignore[arg-type]
        for stay in list(waiting.get_map().values()):
            waiting.unregister(stay.fileobj)
        late = not time.monotonic() < end
        for key, child in running.items():
            answers[key] = _finish(child, late, *(b"".join(output[key, n]) for n in ("out", "err")))
    return answers


def _start(command: Command) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
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


def _finish(child: subprocess.Popen[bytes], late: bool, out: bytes, err: bytes) -> Answer:
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    error = None
    try:
        # Its output ended; a child that lives on (or whose output was cut) gets no more than a moment.
        rc: int | None = child.wait(0 if late else 0.5)
    except subprocess.TimeoutExpired:
        rc, error = None, "it did not answer in time and was stopped"
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return Answer(rc, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), error)
