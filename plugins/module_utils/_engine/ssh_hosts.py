# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host blocks of ssh_config: what they say, and what `ssh -G` must say because of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from .duration import parse_duration

EVERYBODY = "*"
_PATTERNS = re.compile(r"!?[\w.*?:\[\]@%-]+( !?[\w.*?:\[\]@%-]+)*")
# What stands for a setting that nobody asked for: a template that gives null is an empty text before ansible-core 2.19.
_UNSET = (None, "")


@dataclass(frozen=True)
class Block:
    """One ``Host`` block; for the host `sample`, which its first pattern fits, ssh has `expected` in force."""

    pattern: str
    settings: dict[str, str]
    sample: str
    expected: dict[str, str] = field(default_factory=dict)


def host_blocks(hosts: Sequence[Mapping[str, Any]], everybody: Mapping[str, Any]) -> list[Block]:
    """The blocks that say something, in their order: ssh keeps the first value that it finds.

    Args:
        hosts: each with ``pattern`` and any of ``server_alive_interval``, ``server_alive_count_max`` and
            ``tcp_keep_alive``.
        everybody: the same without a pattern, for what no block before has said.

    Raises:
        ValueError: with a sentence that names the setting.
    """
    blocks = [_block(str(entry.get("pattern") or ""), entry) for entry in hosts]
    blocks.append(_block(EVERYBODY, everybody))
    return [
        Block(block.pattern, block.settings, block.sample, in_force(block.sample, blocks))
        for block in blocks
        if block.settings
    ]


def _block(pattern: str, entry: Mapping[str, Any]) -> Block:
    if not _PATTERNS.fullmatch(pattern):
        raise ValueError(
            f"{pattern!r} is no pattern of hosts: write names of ssh_config(5), with blanks between, unquoted"
        )
    settings = {}
    interval, count, probes = (entry.get(f"{name}") for name in
                               ("server_alive_interval", "server_alive_count_max", "tcp_keep_alive"))  # fmt: skip
    if interval not in _UNSET:
        settings["ServerAliveInterval"] = str(parse_duration(interval))
    if count not in _UNSET:
        if isinstance(count, bool) or not re.fullmatch(r"[1-9][0-9]{0,8}", str(count)):
            raise ValueError(f"server_alive_count_max {count!r}: write 1 or more, 0 would give every server up at once")
        settings["ServerAliveCountMax"] = str(count)
    if probes not in _UNSET:
        settings["TCPKeepAlive"] = "yes" if str(probes).lower() in ("true", "yes") else "no"
    first = next((word for word in pattern.split() if not word.startswith("!")), EVERYBODY)
    sample = "any-host.invalid" if first == EVERYBODY else re.sub(r"[*?]", "x", first)
    return Block(pattern, settings, sample)


def in_force(host: str, blocks: Sequence[Block]) -> dict[str, str]:
    values: dict[str, str] = {}
    for block in blocks:
        if matches(block.pattern, host):
            values = {**block.settings, **values}
    return values


def matches(pattern: str, host: str) -> bool:
    """match_pattern_list of OpenSSH: `*` and `?` are wild, a pattern after `!` that fits rules the host out."""
    words = pattern.split()
    ruled_out = any(_fits(word[1:], host) for word in words if word.startswith("!"))
    return not ruled_out and any(_fits(word, host) for word in words if not word.startswith("!"))


def _fits(pattern: str, host: str) -> bool:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern.lower())
    return re.fullmatch("".join(parts), host.lower()) is not None
