# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Red Hat Enterprise Linux, its rebuilds, and Fedora."""

from __future__ import annotations

from .platform import Platform

PLATFORM = Platform(
    family="rhel",
    ids=("rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn"),
    sshd_units=("sshd",),
    bashrcs=("/etc/bashrc",),
    zshrcs=("/etc/zshrc",),
    csh_dir="/etc/profile.d",
    csh_suffix=".csh",
    scanner_main_file=("rhel:8", "centos:8", "rocky:8", "almalinux:8", "ol:8"),
    scanner_logind_drop_ins=tuple(
        f"{name}:{major}" for name in ("rhel", "centos", "rocky", "almalinux", "ol") for major in (9, 10)
    ),
)
