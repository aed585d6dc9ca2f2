# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed block inside somebody else's file: put in, replaced, taken out again byte for byte.

Files are bytes here: they may hold any encoding, or none. Nothing outside the two markers is ever changed, with
one exception that undoes itself: at the end of a file without a last newline, a newline goes before the block and
the block itself ends without one, so that taking it out knows to take that newline as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Markers:
    """The lines that begin and end one transaction's block, without their newline."""

    begin: bytes
    end: bytes

    @classmethod
    def of(cls, name: str, comment: str) -> Markers:
        return cls(*(f"{comment} {word} sessionops.policy {name}".encode() for word in ("BEGIN", "END")))


def put(data: bytes, block: bytes, markers: Markers, insert: str) -> bytes:
    """`data` with `block` in it: in place of the block that is there, else at `insert` (top or bottom).

    Raises:
        ValueError: the markers in `data` are not one pair, or `block` holds a marker itself.
    """
    span = _find(data, markers)
    # The block keeps the newlines that it has, a new one takes those of the file's first line.
    like = _LINE.match(data, span[0] if span else 0)
    newline = b"\r\n" if like and like.group().endswith(b"\r\n") else b"\n"
    lines = [line.group().rstrip(b"\r\n") for line in _LINE.finditer(block)]
    if markers.begin in lines or markers.end in lines:
        raise ValueError("the block holds one of its own marker lines: leave them out, they are added")
    text = newline.join([markers.begin, *lines, markers.end])
    if span:
        start, stop = span
        return data[:start] + text + (newline if data[:stop].endswith(b"\n") else b"") + data[stop:]
    if insert == "top":
        return text + newline + data
    if data and not data.endswith(b"\n"):
        return data + b"\n" + text
    return data + text + newline


def take(data: bytes, markers: Markers) -> bytes:
    """`data` without the block; `data` itself when there is none.

    Raises:
        ValueError: the markers in `data` are not one pair.
    """
    span = _find(data, markers)
    if not span:
        return data
    start, stop = span
    ours = start and not data[:stop].endswith(b"\n")
    return data[: start - 1 if ours else start] + data[stop:]


def _find(data: bytes, markers: Markers) -> tuple[int, int] | None:
    begins, ends = [], []
    for line in _LINE.finditer(data):
        text = line.group().rstrip(b"\r\n")
        if text == markers.begin:
            begins.append(line.start())
        elif text == markers.end:
            ends.append(line.end())
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or begins[0] >= ends[0]:
        raise ValueError(
            f"the lines {markers.begin.decode()!r} and {markers.end.decode()!r} do not stand there as one pair "
            f"({len(begins)} and {len(ends)} found): repair them by hand"
        )
    return begins[0], ends[0]
