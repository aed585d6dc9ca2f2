# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a command as the user whose things it looks at, side by side with others, under one time limit.

What a user owns (a socket, a folder on a file system that hangs) is never followed as root.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from typing import Callable, List, NamedTuple, Optional, Sequence

_LARGEST = 1 << 16


class Question(NamedTuple):
    uid: int
    gid: int
    argv: tuple[str, ...]


#: Answers in the order of the questions: what was printed, or None where it failed or took too long.
Ask = Callable[[Sequence[Question], float], List[Optional[str]]]


def _become(uid: int, gid: int) -> Callable[[], None] | None:
    if os.geteuid() != 0:
        return None

    def drop() -> None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)

    return drop


def ask_as_user(questions: Sequence[Question], timeout: float) -> list[str | None]:
    """Run each question's command as its user, without a terminal, and give what it printed (at most 64 KiB)."""
    answers: list[str | None] = [None] * len(questions)
    running: dict[int, subprocess.Popen[bytes]] = {}
    printed: dict[int, bytes] = {}
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TERM": "dumb"}
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for number, question in enumerate(questions):
            try:
                running[number] = subprocess.Popen(
                    question.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=environment,
                    preexec_fn=_become(question.uid, question.gid),
                    start_new_session=True,
                )
            except (OSError, subprocess.SubprocessError, ValueError):
                continue
            printed[number] = b""
            selector.register(running[number].stdout, selectors.EVENT_READ, number)  # type: ignore[arg-type]
        open_ones = len(running)
        while open_ones and time.monotonic() < deadline:
            for key, _events in selector.select(max(0.0, deadline - time.monotonic())):
                chunk = os.read(key.fd, _LARGEST)
                printed[key.data] += chunk
                if not chunk or len(printed[key.data]) > _LARGEST:
                    selector.unregister(key.fileobj)
                    open_ones -= 1
    for number, process in running.items():
        if process.poll() is None:
            try:
                process.wait(max(0.0, min(0.2, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()
        if process.returncode == 0:
            answers[number] = printed[number][:_LARGEST].decode("utf-8", "surrogateescape")
    return answers
