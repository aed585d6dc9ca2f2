# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reaper of a host."""

from __future__ import annotations

import pytest
from realhosts import Machine
from reaping import Reaper


@pytest.fixture(scope="module")
def reaper(machine: Machine) -> Reaper:
    return Reaper(machine)
