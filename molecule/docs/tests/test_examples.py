# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example of README.md, CONTRIBUTING.md, the documentation and the plugins, run on real hosts in the order of its
page, and compared with what is shown as its output."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t
import warnings

import pytest
import realhosts
import yaml
from blocks import PAGES, Block, all_blocks, blocks, missing, plugin_examples
from realhosts import CHECKOUT, RELEASES, Machine, environment, inventory_of, run
from stage import Stage

#: Where a page is read; two read side by side. A page with a further host has deb11 for it, and these are all on deb12.
ON_DEB12 = {"getting_started.rst", "howto_harden_fleet.rst", "howto_stuck_session.rst", "howto_long_jobs.rst",
            "howto_pass_audit.rst", "howto_putty.rst", "howto_rollback.rst"}  # fmt: skip
BLOCKS = [block for block in all_blocks() if block.kind != "marked"]


def name(block: Block) -> str:
    return f"{release(block)}-{block}"


def release(block: Block) -> str:
    return "deb12" if pathlib.Path(block.page).name in ON_DEB12 else "deb13"


@pytest.fixture(scope="session")
def scenario_host() -> t.Callable[[str], Machine]:
    """The scenario's own hosts, as molecule booted them."""

    def one(host: str) -> Machine:
        inventory = json.loads(realhosts.testhost("inventory", host))["all"]
        return Machine(host, RELEASES[host], {**inventory["vars"], **inventory["hosts"][host]})

    return one


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the file of a release."""
    folder = tmp_path_factory.mktemp("release")
    done = run(
        ["ansible-galaxy", "collection", "build", "--output-path", folder, CHECKOUT], env=environment(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def staged(
    tmp_path_factory: pytest.TempPathFactory, artifact: pathlib.Path, scenario_host: t.Callable[[str], Machine]
) -> t.Iterator[t.Callable[[Block], Stage]]:
    """The stage of a page, left when the next page begins."""
    current: list[Stage] = []

    def of(block: Block) -> Stage:
        if not current or current[-1].page != block.page:
            if current:
                current[-1].leave()
            folder = tmp_path_factory.mktemp("reader")
            (file,) = artifact.glob("*.tar.gz")
            (folder / file.name).write_bytes(file.read_bytes())
            stage = Stage(
                block.page, scenario_host(release(block)), scenario_host("deb11"), folder, folder / "collections"
            )
            current.append(stage)
            stage.succeeds(f"ansible-galaxy collection install --offline -p {stage.collections} {file.name}")
            stage.prepare()
        return current[-1]

    yield of
    for stage in current[-1:]:
        stage.leave()


@pytest.mark.parametrize("block", BLOCKS, ids=name)
def test_example(block: Block, staged: t.Callable[[Block], Stage]) -> None:
    stage = staged(block)
    if block.kind == "console":
        for command, shown in block.commands:
            stage.command(command)
            assert missing(shown, stage.said) == [], stage.said
    elif block.kind == "output":
        assert missing(block.text, stage.said) == [], stage.said
    elif block.kind in ("inventory", "ini"):
        stage.inventory(block)
    elif block.kind == "policy":
        stage.policy(block.text)
    elif block.kind == "playbook":
        stage.playbook(block.text)
    elif block.kind == "tasks":
        play = {"name": "Example", "hosts": "all", "gather_facts": False, "become": True}
        stage.playbook(yaml.safe_dump([{**play, "tasks": yaml.safe_load(block.text)}]))
    else:
        (stage.folder / "waivers.yml").write_text(block.text)
        stage.command(
            "ansible-playbook sessionops.policy.audit -i hosts.ini -e session_policy_waivers=$PWD/waivers.yml"
        )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_block_is_overlooked(path: pathlib.Path) -> None:
    begin = r"^```\S" if path.suffix == ".md" else r"^ *\.\. (?:code-block|code|sourcecode)::|^(?! *\.\. ).*::$"
    assert len(re.findall(begin, path.read_text(), re.M)) == len(blocks(path))


def test_what_is_not_run_is_said_and_what_another_test_runs_exists() -> None:
    for block in all_blocks():
        if block.not_run:
            warnings.warn(f"{block} is not run: {block.not_run}", stacklevel=1)
        if block.tested_by:
            file, _colons, test = block.tested_by.partition("::")
            assert re.search(rf"^def {test}\(", (CHECKOUT / file).read_text(), re.M), block


#: What the examples of plugins take from tasks that would stand before them.
GIVEN = {
    "stuck": {"id": "b0b0-1-1"},
    "proof": {"findings": []},
    "ended": {"sessions": []},
    "folder": str(CHECKOUT / "roles/session_policy/vars/profiles"),
    "role_path": str(CHECKOUT / "roles/session_policy"),
}


def plays_of(folder: str, plugin: str, text: str) -> list[dict]:
    data = yaml.safe_load(text)
    if "hosts" in data[0]:
        return data
    if plugin == "session_report":
        data.insert(0, {"name": "Look", "sessionops.policy.policy_info": {"profile": "cis"}, "register": "found"})
    play = {
        "name": plugin,
        "hosts": "all",
        "gather_facts": False,
        "vars": {k: v for k, v in GIVEN.items() if k in text},
    }
    return [{**play, "tasks": data}]


@pytest.mark.parametrize("folder", ["modules", "filter"])
def test_examples_of_deb13_plugins_run_in_check_mode(
    folder: str, tmp_path: pathlib.Path, scenario_host: t.Callable[[str], Machine]
) -> None:
    """Beside the play lie the files that the comments of the examples show."""
    plays = []
    for plugin, text in plugin_examples(folder).items():
        plays += plays_of(folder, plugin, text)
        for file, shown in re.findall(r"^# (?:The file )?(\S+\.yml)(?:,[^\n]*)?:?\n((?:#[^\n]*\n)+)", text, re.M):
            (tmp_path / file).write_text(re.sub(r"^# ?", "", shown, flags=re.M))
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump(plays, sort_keys=False))
    (tmp_path / "hosts.json").write_text(inventory_of([scenario_host("deb13")]))
    argv = ["ansible-playbook", "-i", "hosts.json", path.name, "--check"]
    done = run(argv, cwd=tmp_path, env=environment(), timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
