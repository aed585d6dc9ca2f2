# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides of the documentation, whose blocks the tests here take out of the pages."""

from __future__ import annotations

import typing as t

import pytest
from blocks import Block, blocks
from realhosts import CHECKOUT


@pytest.fixture
def guide(request: pytest.FixtureRequest) -> t.Callable[[str], list[Block]]:
    """The blocks of a guide that say that the test which asks for them runs them."""
    test = f"{request.path.relative_to(CHECKOUT)}::{request.node.originalname}"

    def of(name: str) -> list[Block]:
        found = [block for block in blocks(CHECKOUT / f"docs/docsite/rst/guide_{name}.rst") if block.tested_by == test]
        assert found, f"no block of the guide {name} says that {test} runs it"
        return found

    return of
