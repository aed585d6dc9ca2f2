# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where editors leave unsaved text when they are hung up: vim its swap file, nano FILE.save, emacs #FILE#."""

from __future__ import annotations

import os
import threading
from typing import Iterable

from ..model import Item, Session, visible
from .procfs import Proc

_SAVES = 10  # FILE.save, FILE.save.1, … as nano counts them


def drafts_of(proc: Proc, session: Session) -> list[str]:
    """The paths at which text of this session's editors may lie afterwards; to be asked before they are ended."""
    found: dict[str, None] = {}
    for editor in session.work.editors:
        found.update(dict.fromkeys(_drafts(editor, proc.link(f"{editor.pid}/cwd") or "")))
    return list(found)


def _drafts(editor: Item, folder: str) -> Iterable[str]:
    yield from editor.swap
    for path in editor.files or ((f"{folder}/nano.{editor.pid}",) if editor.program == "nano" and folder else ()):
        place, name = os.path.split(path)
        yield f"{path}.save"
        yield from (f"{path}.save.{number}" for number in range(1, _SAVES))
        yield os.path.join(place, f"#{name}#")


def preserved(paths: Iterable[str], since: float, patience: float = 2.0) -> list[str]:
    """Those that hold text now and are no older than `since`, seconds since the epoch, or are swap files.

    By lstat alone, in a thread of its own: a user's file system may hang.
    """
    found: list[str] = []

    def look() -> None:
        for path in paths:
            try:
                facts = os.lstat(path)
            except (OSError, ValueError):
                continue
            if facts.st_size and (facts.st_mtime >= since or ".save" not in path):
                found.append(visible(path))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(patience)
    return list(found)
