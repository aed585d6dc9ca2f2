# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
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
    assert readme_tables.plain("I(idle) C(a(5)) is V(x|y),\n M(z.z.z)") == "*idle* `a(5)` is `x\\|y`, `z.z.z`"


def test_a_marker_of_no_table_is_an_error():
    with pytest.raises(ValueError, match="there is no table 'variables nothing'"):
        readme_tables.fill("<!-- BEGIN variables nothing -->\n<!-- END variables nothing -->")
