# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded /proc trees, laid out again under a temporary folder."""

from __future__ import annotations

import json
import os
import pathlib

RECORDED = pathlib.Path(__file__).parent / "recorded"


def load(name):
    return json.loads((RECORDED / f"{name}.json").read_text())


def lay(recording, folder):
    """Write the tree; what cannot be a file name is left out, as if the process had vanished."""
    root = pathlib.Path(folder, "proc")
    for path, text in recording["files"].items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode("utf-8", "surrogateescape"))
    for path, target in recording["links"].items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, place)
    utmp = pathlib.Path(folder, "utmp")
    if recording["utmp"]:
        utmp.write_bytes(bytes.fromhex(recording["utmp"]))
    return root, utmp
