# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that kills itself at one of its deeds; it lies beside the drivers that tests put on a host."""

from __future__ import annotations

import os
import signal


class Mortal:
    """`left` is the number of deeds until the kill, which comes before the last of them; 0 is never. Later it is how
    many are left, or minus how many there were."""

    def __init__(self, left):
        self.left = left

    def __call__(self, deed):
        def do(*args, **kw):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return deed(*args, **kw)

        return do
