# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of a platform's data; the defaults are those of most distributions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Platform:
    """Paths are absolute; of several, the first that exists counts, else the first."""

    family: str
    ids: tuple[str, ...]  # ID or ID_LIKE words of os-release
    sshd_configs: tuple[str, ...] = ("/etc/ssh/sshd_config",)
    sshd_drop_in_dir: str = "/etc/ssh/sshd_config.d"
    sshd_units: tuple[str, ...] = ("sshd", "ssh")
    bashrcs: tuple[str, ...] = ("/etc/bash.bashrc", "/etc/bashrc")  # read by interactive bash, login or not
    zshrcs: tuple[str, ...] = ("/etc/zsh/zshrc", "/etc/zshrc")
    cshrc: str = "/etc/csh.cshrc"
    csh_dir: str | None = None  # a folder of snippets that csh reads; `csh_suffix` is how their names must end
    csh_suffix: str = ""
    profile_dir: str = "/etc/profile.d"
    ssh_configs: tuple[str, ...] = ("/etc/ssh/ssh_config",)
    ssh_drop_in_dir: str = "/etc/ssh/ssh_config.d"
    locker_package: str = "kbd"  # what vlock comes in
    # "ID:MAJOR" of releases whose scanner content reads only the main sshd_config.
    scanner_main_file: tuple[str, ...] = ()
    # "ID:MAJOR" of releases whose scanner content reads logind's drop-ins, and none but them.
    scanner_logind_drop_ins: tuple[str, ...] = ()
    # IDs whose scanner content wants TMOUT in three lines (set, readonly, export) and not in one typeset.
    scanner_tmout_three_lines: tuple[str, ...] = ()
