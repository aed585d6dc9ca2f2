# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of README.md, CONTRIBUTING.md, the documentation and the plugins, run on real hosts in the order of its
page, and compared with what is shown as its output. A page is a test, on hosts of its own."""

from __future__ import annotations

import pathlib
import re
import sys
import warnings

import pytest
import stage
import yaml
from blocks import PAGES, all_blocks, blocks, plugin_examples
from realhosts import CHECKOUT, Person, booted, environment, inventory_of, run
from stage import HAVE_PEOPLE, Stage


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The file of a release."""
    argv = [sys.executable, CHECKOUT / "tests/tools/build_artifact.py", tmp_path_factory.mktemp("release")]
    return pathlib.Path(run(argv, timeout=120, check=True).stdout.strip())


def to_run(path: pathlib.Path) -> list:
    return [block for block in blocks(path) if not (block.not_run or block.tested_by)]


def longest_first() -> list[pathlib.Path]:
    """The pages with something to run; those in which people have to grow idle take longest."""
    return sorted(filter(to_run, PAGES), key=lambda path: (path.name not in HAVE_PEOPLE, -len(to_run(path))))


@pytest.mark.parametrize("path", longest_first(), ids=lambda path: path.name)
def test_a_reader_of(path: pathlib.Path, tmp_path: pathlib.Path, artifact: pathlib.Path) -> None:
    with Stage(path.name, tmp_path, artifact) as stage:
        for block in to_run(path):
            try:
                stage.play(block)
            except Exception as error:
                error.add_note(f"This is in {block}.")
                raise


def test_what_is_not_run_is_said_and_what_another_test_runs_exists() -> None:
    for block in all_blocks():
        if block.not_run:
            warnings.warn(f"{block} is not run: {block.not_run}", stacklevel=1)
        if block.tested_by:
            file, _colons, test = block.tested_by.partition("::")
            assert re.search(rf"^ *def {re.escape(test)}\(", (CHECKOUT / file).read_text(), re.M), block


def test_what_is_known_of_pages_is_still_in_them() -> None:
    known = {*stage.ON, *stage.IN_CHECKOUT, *stage.HAVE_REAPER, *stage.HAVE_POLICY, *HAVE_PEOPLE, *stage.MAY_FAIL}
    assert known <= {path.name for path in PAGES}
    assert set(stage.EFFECTS) <= set(re.findall(r"- name: (.*)", "\n".join(block.text for block in all_blocks())))
    assert set(BEFORE) <= {name for folder in ("modules", "filter") for name in plugin_examples(folder)}


#: What stands before the examples of a plugin, in a play of its own.
BEFORE = {
    "findings_failures": [{"sessionops.policy.policy_info": {}, "register": "proof"}],
    "findings_table": [{"sessionops.policy.policy_info": {"profile": "cis"}, "register": "proof"}],
    "outcomes_table": [
        {"sessionops.policy.session_terminate": {"idle_over": "2h"}, "check_mode": True, "register": "ended"}
    ],
    "session_report": [{"sessionops.policy.policy_info": {"profile": "cis"}, "register": "found"}],
    "session_terminate": [
        {"sessionops.policy.session_info": {}, "register": "looked"},
        {"ansible.builtin.set_fact": {"stuck": "{{ looked.sessions | rejectattr('is_self') | first }}"}},
    ],
}
#: Those who are on have just sat down.
DEFAULTS = {"sessionops.policy.session_terminate": {"min_age": 0}}
VARIABLES = {"role_path": str(CHECKOUT / "roles/session_policy")}


def plays_of(plugin: str, text: str) -> list[dict]:
    data = yaml.safe_load(text)
    if "hosts" in data[0]:
        return data
    tasks = BEFORE.get(plugin, []) + data
    play = {"name": plugin, "hosts": "all", "gather_facts": False, "vars": VARIABLES, "module_defaults": DEFAULTS}
    return [{**play, "tasks": tasks}]


@pytest.mark.parametrize("folder", ["modules", "filter"])
def test_a_user_of_the_examples_of(folder: str, tmp_path: pathlib.Path) -> None:
    """Beside the play lie the files that the comments of the examples show."""
    plays = []
    for plugin, text in plugin_examples(folder).items():
        plays += plays_of(plugin, text)
        for file, shown in re.findall(r"^# (?:The file )?(\S+\.yml)(?:,[^\n]*)?:?\n((?:#[^\n]*\n)+)", text, re.M):
            (tmp_path / file).write_text(re.sub(r"^# ?", "", shown, flags=re.M))
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump(plays, sort_keys=False))
    with booted(f"examples-{folder}", "trixie") as machine, Person(machine, "alice").at_prompt() as alice:
        (tmp_path / "hosts.json").write_text(inventory_of([machine]))
        done = run(["ansible-playbook", "-i", "hosts.json", path.name], cwd=tmp_path, env=environment(), timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        assert folder != "modules" or alice.leaves_within(10)
