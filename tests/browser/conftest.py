# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headless Chromium, driven by its own driver, offline."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from chromium import Browser, chromium

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def pictures() -> pathlib.Path:
    """Where screenshots go, to be looked at."""
    folder = CHECKOUT / "build/browser"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def axe() -> str:
    return (CHECKOUT / "build/test-data/axe_playwright_python/axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Browser]:
    os.environ["SE_OFFLINE"] = "true"
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(_browser: Browser) -> Browser:
    """A wide, light screen, whatever the last test did."""
    _browser.screen(1440, 900)
    _browser.scheme("light")
    return _browser
