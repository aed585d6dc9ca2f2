# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tmux out of /etc/shells, and back again byte for byte.

An auditor's `grep -i tmux /etc/shells` must find nothing, so no comment can hold the lines that were taken out:
they are kept in a file of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

PATH = "/etc/shells"
KEPT = "/var/lib/session-policy/multiplexer-shells.json"


@dataclass(frozen=True)
class Shells:
    """`without` and `kept` are what `path` and `kept_path` shall hold when tmux is out, `restored` what `path` shall
    otherwise.

    `tmux` are the places of lines that name it now. None: the file is not there, or nothing was taken out.
    """

    tmux: list[str]
    without: str | None
    kept: str | None
    restored: str | None
    path: str = PATH
    kept_path: str = KEPT


def judge_shells(text: str | None, kept: str | None) -> Shells:
    """What PATH would be like either way.

    Args:
        text: what PATH holds now.
        kept: what an earlier run took out.
    """
    if text is None:
        return Shells([], None, None, None)
    named = [f"{PATH}:{number}" for number, line in enumerate(text.splitlines(), 1) if _names_tmux(line)]
    restored = put_back(text, kept) if kept else None
    if not named and restored is None:
        return Shells([], None, None, None)
    # Out of all that there ever was: a package that was upgraded may have put a line there once more.
    without, removed = take_out(text if restored is None else restored)
    return Shells(named, without, json.dumps(removed) + "\n", restored)


def _names_tmux(line: str) -> bool:
    return "tmux" in line.lower()


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def take_out(text: str) -> tuple[str, list[tuple[int, str]]]:
    """`text` without the lines that name tmux, and these lines by their index in it."""
    lines = _lines(text)
    removed = [(index, line) for index, line in enumerate(lines) if _names_tmux(line)]
    return "".join(line for line in lines if not _names_tmux(line)), removed


def put_back(text: str, kept: str) -> str:
    """`text` with the lines of `kept` where they were, even if somebody has put them elsewhere since."""
    removed = _parse(kept)
    known = {line.strip() for _index, line in removed}
    lines = [line for line in _lines(text) if line.strip() not in known]
    for index, line in removed:
        if index >= len(lines) and lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        if index < len(lines) and not line.endswith("\n"):
            line += "\n"
        lines.insert(index, line)
    return "".join(lines)


def _parse(kept: str) -> list[tuple[int, str]]:
    """Nothing at all for a file that is not ours, or not whole."""
    try:
        return sorted((int(index), str(line)) for index, line in json.loads(kept))
    except (ValueError, TypeError):
        return []
