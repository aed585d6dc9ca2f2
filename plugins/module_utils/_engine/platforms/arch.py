# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arch Linux and its derivatives."""

from __future__ import annotations

from .platform import Platform

PLATFORM = Platform(
    family="arch",
    ids=("arch", "archarm", "manjaro", "endeavouros"),
    sshd_units=("sshd",),
    bashrcs=("/etc/bash.bashrc",),
    zshrcs=("/etc/zsh/zshrc",),
)
