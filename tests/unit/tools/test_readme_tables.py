# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
import json
import pathlib

import pytest

TOOL = pathlib.Path(__file__).parents[2] / "tools" / "readme_tables.py"
spec = importlib.util.spec_from_file_location("readme_tables", TOOL)
assert spec and spec.loader
readme_tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readme_tables)

ROLES = sorted(path.parents[1].name for path in TOOL.parents[2].glob("roles/*/meta/argument_specs.yml"))
README = "# Title\n\n{}\nThe end, <!-- of it -->.\n"


@pytest.mark.parametrize("what", [*(f"variables {role}" for role in ROLES), "profiles"])
def test_a_table_is_filled_and_stays(what):
    empty = README.format(f"<!-- BEGIN {what} -->\n<!-- END {what} -->\n")
    filled = readme_tables.fill(empty)
    assert "\n| --- |" in filled
    assert filled.startswith("# Title\n\n<!-- BEGIN")
    assert filled.endswith("-->\n\nThe end, <!-- of it -->.\n")
    assert readme_tables.fill(filled) == filled
    widths = {line.replace("\\|", "").count("|") for line in filled.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_every_variable_stands_there():
    table = readme_tables.variables(TOOL.parents[2], "session_policy", ".md")
    assert "| `session_policy_profile` | `cis` | " in table
    assert "| `session_policy_exempt_users` | `[]` | " in table


def test_markup_becomes_markdown():
    assert readme_tables.plain("I(idle) C(a(5)) is V(x|y),\n M(z.z.z) E(T)") == "*idle* `a(5)` is `x\\|y`, `z.z.z` `T`"


def test_a_marker_of_no_table_is_an_error():
    with pytest.raises(ValueError, match="there is no table 'variables nothing'"):
        readme_tables.fill("<!-- BEGIN variables nothing -->\n<!-- END variables nothing -->")


def test_the_matrix_shows_what_ran_and_what_ansible_core_does_not_list(tmp_path):
    hosts = {
        "bullseye": {"python": "3.9.2", "listed": True, "contracts": 10},
        "trixie": {"python": "3.13.5", "listed": False, "contracts": 9},
    }
    line = {"ansible_core": "2.16.19", "python": "3.11.7", "date": "2026-01-31", "unit_tests": 1100, "playbooks": 5}
    (tmp_path / "tests/matrix").mkdir(parents=True)
    (tmp_path / "tests/matrix/results.json").write_text(json.dumps({"2.16": {**line, "managed": hosts}}))
    filled = readme_tables.fill(README.format("<!-- BEGIN matrix -->\n<!-- END matrix -->\n"), tmp_path)
    assert "| ansible-core | on Python | unit tests | playbooks | Debian 11 | Debian 13 | ran |\n" in filled
    assert "| 2.16.19 | 3.11.7 | 1100 | 5 | 3.9.2: 10 | 3.13.5 \\*: 9 | 2026-01-31 |\n" in filled
