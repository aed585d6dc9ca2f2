# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release tool on made-up checkouts, and what the collection owes to be one, on this one."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[3]
spec = importlib.util.spec_from_file_location("release_state", ROOT / "tests/tools/release_state.py")
assert spec and spec.loader
release_state = importlib.util.module_from_spec(spec)
spec.loader.exec_module(release_state)


@pytest.fixture
def checkout(tmp_path):
    """One that has just released 1.2.0."""
    (tmp_path / "changelogs/fragments").mkdir(parents=True)
    (tmp_path / "changelogs/changelog.yaml").write_text("releases: {1.10.0: {}, 1.9.0: {}, 0.1.0: {}}")
    (tmp_path / "CHANGELOG.rst").write_text("Notes\n\nv1.10.0\n=======\n")
    (tmp_path / "galaxy.yml").write_text("version: 1.10.0")
    (tmp_path / "plugins/modules").mkdir(parents=True)
    (tmp_path / "plugins/modules/one.py").write_text("version_added: 0.1.0\n  version_added: '1.9.0'\n")
    return tmp_path


def test_what_agrees_may_be_tagged(checkout):
    assert not list(release_state.troubles(checkout))
    assert not list(release_state.troubles(checkout, "1.10.0"))


@pytest.mark.parametrize(
    ("path", "text", "tag", "said"),
    [
        ("galaxy.yml", "version: 1.10.0", "v1.10.0", "tag v1.10.0 is not"),
        ("galaxy.yml", "version: 1.11.0", "1.11.0", "run antsibull-changelog release"),
        ("galaxy.yml", "version: 1.2.0", None, "1.10.0 is released already"),
        ("galaxy.yml", "version: '1.10'", None, "not like 1.2.3"),
        ("galaxy.yml", "version: 1.10.0-rc1", None, "not like 1.2.3"),
        ("changelogs/fragments/7-x.yml", "bugfixes: [x]", None, "7-x.yml wait for the next"),
        ("CHANGELOG.rst", "v1.9.0\n", None, "lacks 1.10.0"),
        ("plugins/modules/one.py", "version_added: 1.8.0", None, "version_added 1.8.0 is neither"),
        ("plugins/modules/one.py", "a: {type: str, version_added: 1.8.0}", None, "version_added 1.8.0 is neither"),
    ],
)
def test_what_does_not_agree_is_said(checkout, path, text, tag, said):
    (checkout / path).write_text(text)
    assert any(said in sentence for sentence in release_state.troubles(checkout, tag))


def test_the_next_version_may_wait_for_its_release(checkout):
    (checkout / "galaxy.yml").write_text("version: 2.0.0")
    (checkout / "changelogs/fragments/7-x.yml").write_text("bugfixes: [x]")
    (checkout / "plugins/modules/one.py").write_text("version_added: 2.0.0")
    assert not list(release_state.troubles(checkout))


def test_the_action_group_has_every_module():
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
    assert groups == {"policy": sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))}


def test_all_that_is_public_says_since_when():
    plugins = [*ROOT.glob("plugins/modules/*.py"), *ROOT.glob("plugins/filter/*.py")]
    for path in [*plugins, *ROOT.glob("roles/*/meta/argument_specs.yml")]:
        assert re.search(r"^ *version_added: \d", path.read_text(), re.M), path


def test_code_names_the_licence_and_one_text_of_it():
    for path in [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("roles/*/*/*.yml"), *ROOT.glob("playbooks/*.yml")]:
        head = path.read_text(encoding="utf-8")[:400]
        assert "(see COPYING or " in head, path
        assert "SPDX-License-Identifier: GPL-3.0-or-later" in head, path


def test_ci_runs_every_scenario_and_version():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    asked = {name: job["strategy"]["matrix"] for name, job in jobs.items() if "strategy" in job}
    assert asked["scenarios"]["scenario"] == sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
    versions = re.findall(r"^VERSIONS = \((.*)\)", (ROOT / "tests/matrix/matrix.py").read_text(), re.M)[0]
    assert asked["matrix"]["version"] == versions.replace("NEWEST", "newest").replace('"', "").split(", ")
    assert [one["core"] for one in asked["sanity"]["include"]] == [*asked["matrix"]["version"], "devel"]
