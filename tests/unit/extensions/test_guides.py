# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guides for fleets name is there: files of the collection, its version, the words of its events."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
_FILE = re.compile(r"(?<![\w/])(?:extensions|molecule|playbooks|tests)/[\w./-]*\w")
GUIDES = sorted((CHECKOUT / "docs/docsite/rst").glob("guide_*.rst"))
VERSION = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())["version"]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_the_files_are_there(guide):
    named = set(_FILE.findall(guide.read_text()))
    assert {name for name in named if not (CHECKOUT / name).exists()} == set()


def test_files_are_named_at_all():
    named = _FILE.findall("".join(map(pathlib.Path.read_text, GUIDES)))
    assert {"extensions/awx/report_to_host.yml", "extensions/pull", "playbooks/rollback.yml"} <= set(named)


def test_they_take_this_version():
    texts = [path.read_text() for path in [*GUIDES, CHECKOUT / "extensions/pull/session-policy-pull.conf"]]
    taken = re.findall(r"(?:--branch |--checkout |--scm_branch |VERSION=|policy-ee:)(\S+)", "\n".join(texts))
    assert len(taken) >= 5 and set(taken) == {VERSION}


def test_the_words_of_events_are_the_engine_s():
    guide = (CHECKOUT / "docs/docsite/rst/guide_event_driven.rst").read_text()
    table = guide[guide.index(".. list-table::") :]
    words = {word for row in re.findall(r"^   \* - (``.*)$", table, re.M) for word in re.findall(r"``(.*?)``", row)}
    said = "".join(path.read_text() for path in (CHECKOUT / "plugins/module_utils/_engine").rglob("*.py"))
    words.remove("deed")
    assert len(words) >= 10 and {word for word in words if f'"{word}"' not in said} == set()
