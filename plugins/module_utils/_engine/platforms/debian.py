# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian, Ubuntu and what derives from them."""

from __future__ import annotations

from .platform import Platform

PLATFORM = Platform(
    family="debian",
    ids=("debian", "ubuntu"),
    sshd_units=("ssh", "sshd"),
    bashrcs=("/etc/bash.bashrc",),
    zshrcs=("/etc/zsh/zshrc",),
    csh_dir="/etc/csh/cshrc.d",
    locker_package="vlock",
    scanner_main_file=("debian:10", "debian:11", "debian:12", "debian:13"),
    scanner_tmout_three_lines=("ubuntu",),
)
