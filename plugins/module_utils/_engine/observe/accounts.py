# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host says of its users."""

from __future__ import annotations

import grp
import os
import pwd


def groups_of(user: str) -> set[str]:
    """The names of the groups that `user` is a member of; none where there is no such user."""
    try:
        return {grp.getgrgid(gid).gr_name for gid in os.getgrouplist(user, pwd.getpwnam(user).pw_gid)}
    except (KeyError, OSError, ValueError):
        return set()
