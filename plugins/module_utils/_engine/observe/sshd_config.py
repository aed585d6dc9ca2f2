# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sshd_config as sshd reads it: Include, Match, first value wins (servconf.c), with the place of every value.

ssh_config is read in the same way (readconf.c), with Host beside Match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Sequence

from .tree import Tree, our_lines

# servconf.c SERVCONF_MAX_DEPTH
DEEPEST = 16
# A tree of includes that an editor's accident made circular ends here.
MOST_FILES = 500
_TIME = re.compile(r"([0-9]{1,10})([smhdw]?)", re.IGNORECASE)
_TIME_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Setting:
    """One assignment. `match` is the criteria text of the block it stands in, None when it is global."""

    keyword: str
    args: tuple[str, ...]
    path: str
    line: int
    ours: bool
    match: str | None

    @property
    def value(self) -> str:
        return " ".join(self.args)

    @property
    def source(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Config:
    settings: tuple[Setting, ...]
    files: tuple[str, ...]  # every file that is read, in order
    watched: tuple[str, ...]  # the files, and the folders whose content decides which files are read
    # Include lines of the main file that stand before any block: (line, pattern)
    includes: tuple[tuple[int, str], ...]


def split_line(line: str, quotes: str = "\"'") -> tuple[str, tuple[str, ...]]:
    """Keyword (lower case) and arguments; ("", ()) for blank lines and comments.

    `keyword=value` and `keyword = value` are legal, quotes hold blanks, and a `#` that begins a word
    begins a comment. Before 8.7 only double quotes are quotes: pass `quotes='"'`.
    """
    words = _words(line.strip(" \t\r\n\f"), quotes)
    if not words or words[0].startswith("#"):
        return "", ()
    return words[0].lower(), tuple(words[1:])


def _words(text: str, quotes: str) -> list[str]:
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            return words or ["#"]
        word, at = _word(text, at, quotes, keyword=not words)
        words.append(word)
        if len(words) == 1:
            # One `=` may stand between keyword and value.
            after = at
            while after < len(text) and text[after] in " \t":
                after += 1
            at = after + 1 if text[after : after + 1] == "=" else at
    return words


def _word(text: str, at: int, quotes: str, keyword: bool) -> tuple[str, int]:
    parts: list[str] = []
    quote = ""
    ends = " \t=" if keyword else " \t"
    while at < len(text):
        char = text[at]
        if quote:
            if char == quote:
                quote = ""
            else:
                parts.append(char)
        elif char in quotes:
            quote = char
        elif char in ends:
            break
        else:
            parts.append(char)
        at += 1
    return "".join(parts), at


def read_config(
    tree: Tree, main: str, version: tuple[int, ...] | None = None, everybody: Sequence[tuple[str, str]] = ()
) -> Config:
    """Everything that `main` says and includes. Never raises: what cannot be read is in `tree.unreadable`.

    Args:
        everybody: blocks that count as global, for example ("host", "*").
    """
    reader = _Reader(tree, main, '"' if version and version < (8, 7) else "\"'", everybody)
    reader.read(main, None, 0)
    return Config(
        tuple(reader.settings), tuple(reader.files), tuple(dict.fromkeys(reader.watched)), tuple(reader.includes)
    )


class _Reader:
    def __init__(self, tree: Tree, main: str, quotes: str, everybody: Sequence[tuple[str, str]]) -> None:
        self.tree = tree
        self.main = main
        self.quotes = quotes
        self.everybody = everybody
        self.settings: list[Setting] = []
        self.files: list[str] = []
        self.watched: list[str] = []
        self.includes: list[tuple[int, str]] = []

    def read(self, path: str, match: str | None, depth: int) -> None:
        if depth > DEEPEST or len(self.files) >= MOST_FILES:
            return
        self.files.append(path)
        self.watched.append(path)
        lines = self.tree.lines(path)
        ours = our_lines(path, lines)
        # A Match ends with its file: `match` is this call's own.
        for number, line in enumerate(lines, 1):
            keyword, args = split_line(line, self.quotes)
            if not keyword:
                continue
            if keyword in ("match", "host"):
                match = None if (keyword, " ".join(args)) in self.everybody else " ".join(args)
            elif keyword == "include":
                for pattern in args:
                    self._include(pattern, match, depth, path, number)
            else:
                self.settings.append(Setting(keyword, args, path, number, number in ours, match))

    def _include(self, pattern: str, match: str | None, depth: int, path: str, number: int) -> None:
        if not pattern.startswith("/"):
            # Relative to where sshd was built to look, wherever the including file lies.
            pattern = "/etc/ssh/" + pattern
        if path == self.main and match is None:
            self.includes.append((number, pattern))
        if re.search(r"[*?\[]", pattern):
            self.watched.append(pattern.rsplit("/", 1)[0])
        for found in self.tree.glob(pattern):
            if not self.tree.is_dir(found):
                self.read(found, match, depth + 1)


def global_settings(config: Config) -> dict[str, list[Setting]]:
    """Per keyword its global assignments in the order read: the first is in force."""
    found: dict[str, list[Setting]] = {}
    for setting in config.settings:
        if setting.match is None:
            found.setdefault(setting.keyword, []).append(setting)
    return found


def origin(settings: Sequence[Setting]) -> dict[str, Any]:
    """Where the value in force comes from, and what loses against it."""
    first = settings[0]
    return {
        "source": first.source,
        "value": canonical(first.keyword, first.args),
        "ours": first.ours,
        "overridden": [
            {"source": s.source, "value": canonical(s.keyword, s.args), "ours": s.ours} for s in settings[1:]
        ],
    }


def sshd_seconds(text: str) -> int | None:
    """A TIME of sshd_config(5) (``300``, ``5m``, ``1h30m``, any case) in seconds; None if it is none."""
    total = 0
    at = 0
    while at < len(text):
        part = _TIME.match(text, at)
        if not part:
            return None
        total += int(part.group(1)) * _TIME_UNITS[part.group(2).lower()]
        at = part.end()
    return total if text else None


TIMES: set[str] = {"clientaliveinterval", "logingracetime", "serveraliveinterval", "unusedconnectiontimeout"}


def canonical(keyword: str, args: Sequence[str]) -> str:
    """The value as `sshd -T` prints it, so that what is written can be compared with what sshd took."""
    value = " ".join(args)
    if keyword in TIMES:
        seconds = None if value.lower() == "none" else sshd_seconds(value)
        if seconds is None or (keyword == "unusedconnectiontimeout" and seconds == 0):
            return "none" if keyword == "unusedconnectiontimeout" else value
        return str(seconds)
    if keyword in ("clientalivecountmax", "maxsessions", "serveralivecountmax"):
        return str(int(value)) if re.fullmatch(r"[0-9]{1,10}", value) else value
    if keyword == "maxstartups" and re.fullmatch(r"[0-9]{1,10}", value):
        return f"{value}:30:{value}"  # servconf.c leaves the rate at its default
    if keyword == "tcpkeepalive":
        return {"true": "yes", "false": "no"}.get(value.lower(), value.lower())
    return value
