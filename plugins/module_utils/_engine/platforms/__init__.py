# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between distributions, as data: one file each.

To add one, write its file and name it in the import and in `PLATFORMS` (modules ship
to hosts with what they import by name, so a folder scan would find nothing there).
"""

from __future__ import annotations

from typing import Mapping, Sequence

from . import alpine, arch, debian, rhel, suse
from .platform import Platform

PLATFORMS = (debian.PLATFORM, rhel.PLATFORM, suse.PLATFORM, arch.PLATFORM, alpine.PLATFORM)
UNKNOWN = Platform(family="unknown", ids=())


def parse_os_release(text: str) -> Mapping[str, str]:
    """os-release(5) assignments; lines that are none are left out."""
    values = {}
    for line in text.splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and key and not key.startswith("#"):
            quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
            values[key] = value[1:-1] if quoted else value
    return values


def find_platform(os_id: str, id_like: Sequence[str]) -> Platform:
    """The platform that claims `os_id`, else the first of its relatives that one claims, else UNKNOWN."""
    for name in (os_id, *id_like):
        for platform in PLATFORMS:
            if name in platform.ids:
                return platform
    return UNKNOWN
