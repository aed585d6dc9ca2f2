# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where reports go on the controller, and how they are written there."""

from __future__ import annotations

import os
import pathlib
import tempfile
import typing as t

# What ansible-core reads where neither its configuration nor the command line names an inventory.
DEFAULT_INVENTORY = "/etc/ansible/hosts"
FOLDER = "session-report"


def beside_inventory(sources: t.Iterable[object]) -> pathlib.Path | None:
    """The folder in which the first inventory lies that is a file or a folder; None if there is none.

    Beside, never inside: what lies in an inventory folder is read as inventory.
    """
    for source in map(str, sources):
        if "," not in source and source != DEFAULT_INVENTORY and os.path.exists(source):
            return pathlib.Path(os.path.abspath(source)).parent
    return None


def output_folder(wish: str | None, sources: t.Iterable[object], current: str) -> pathlib.Path:
    if wish:
        return pathlib.Path(current, os.path.expanduser(wish))
    return (beside_inventory(sources) or pathlib.Path(current)) / FOLDER


def write_files(folder: pathlib.Path, files: t.Mapping[str, str]) -> None:
    """Write texts, each whole or not at all, for our own eyes: they say who is logged in where.

    Raises:
        OSError: a file or the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        handle, draft = tempfile.mkstemp(prefix=f".{name}.", dir=folder)  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            os.replace(draft, folder / name)
        except BaseException:
            os.unlink(draft)
            raise
