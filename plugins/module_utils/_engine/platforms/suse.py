# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SUSE Linux Enterprise and openSUSE."""

from __future__ import annotations

from .platform import Platform

PLATFORM = Platform(
    family="suse",
    ids=("sles", "sled", "sle", "suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sle_hpc", "sles_sap"),
    # Where /etc has no such file, the vendor's is read.
    sshd_configs=("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"),
    ssh_configs=("/etc/ssh/ssh_config", "/usr/etc/ssh/ssh_config"),
    sshd_units=("sshd",),
    # bash.bashrc is the vendor's and says so; it sources this one last.
    bashrcs=("/etc/bash.bashrc.local",),
    zshrcs=("/etc/zshrc",),
    csh_dir="/etc/profile.d",
    csh_suffix=".csh",
    scanner_logind_drop_ins=("sles:15", "sled:15", "sles_sap:15"),
    scanner_tmout_three_lines=("sles", "sled", "sles_sap"),
)
