# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of this checkout that git knows, or would know: local leftovers are neither judged nor packed."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def known_files() -> list[str]:
    """Their names from the checkout's root, in order."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True).stdout
    # A deleted file is still listed.
    return sorted({name for name in listed.split("\0") if name and (CHECKOUT / name).exists()})


def pack_known_files(*more: str) -> bytes:
    """A tar archive of them, links as links, and of `more`."""
    argv = ["tar", "--create", "--null", "--files-from=-", *more]
    listed = "\0".join(known_files()).encode()
    return subprocess.run(argv, cwd=CHECKOUT, check=True, input=listed, stdout=subprocess.PIPE).stdout


def copy_known_files(folder: pathlib.Path) -> None:
    """A copy of them in `folder`, which goes first, without the link to ourselves, which has no end."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in known_files():
        if not name.startswith("playbooks/collections/"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target, follow_symlinks=False)
