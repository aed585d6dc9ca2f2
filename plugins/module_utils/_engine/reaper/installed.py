# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine a host has: one number for a folder of source files, the same where it is made and where it runs."""

from __future__ import annotations

import hashlib
import os
from typing import Mapping

#: Where the engine lies on a host.
FOLDER = "/usr/local/lib/session-reaper/_engine"


def read(folder: str) -> dict[str, bytes]:
    """The source files below `folder` by their path in it; what Python compiled of them is not its source."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(name for name in names if name.endswith(".py")):
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over names, lengths and bytes, hexadecimal."""
    sha = hashlib.sha256()
    for name in sorted(files):
        sha.update(f"{name} {len(files[name])}\n".encode())
        sha.update(files[name])
    return sha.hexdigest()
