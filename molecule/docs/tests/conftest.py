# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests import from beside them, and who runs which."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest
from xdist.scheduler import WorkStealingScheduling

sys.path.insert(0, str(pathlib.Path(__file__).parent))


def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> WorkStealingScheduling:
    """A page has hosts of its own, so any worker may read it."""
    return WorkStealingScheduling(config, log)
