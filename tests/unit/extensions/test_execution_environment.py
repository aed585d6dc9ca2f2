# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution environment: its context is made by ansible-builder, and the collection installs from it."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from blocks import blocks

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]


def run(name: str, *argv: object, cwd: pathlib.Path) -> str:
    """What a program of this environment, or the one at a path, says."""
    programs = pathlib.Path(sys.executable).parent
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(cwd), "ANSIBLE_NOCOLOR": "true"}
    env["PATH"] = f"{programs}:{env['PATH']}"
    # The units' own path leads to this checkout, which ansible-galaxy would take for the collection, installed already.
    env.pop("PYTHONPATH", None)
    words = [str(word) for word in (programs / name, *argv)]
    done = subprocess.run(words, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("ee")
    run("/bin/sh", CHECKOUT / "tests/tools/execution_environment", "context", folder / "made", cwd=folder)
    return folder / "made/context"


@pytest.fixture(scope="module")
def installed(context: pathlib.Path) -> pathlib.Path:
    """Where the collection lies after the steps of the stage that installs collections, done here."""
    stage = re.split(r"^FROM .* AS galaxy$", (context / "Containerfile").read_text(), flags=re.M)[1]
    build = context.parent / "build"
    # In the order of the stage, which runs in the root folder until it says WORKDIR.
    source, target = re.search(
        r"^COPY (_build/collection/\S+) /build/(\S+)$.*^WORKDIR /build$", stage, re.M | re.S
    ).groups()
    (artifact,) = context.glob(source)
    shutil.copytree(context / "_build", build)
    shutil.copy(artifact, build / target)
    install = re.search(r"^RUN (?:.* )?ansible-galaxy (collection install .*requirements.yml)", stage, re.M).group(1)
    words = [word for word in install.split() if not word.startswith("$")]
    run("ansible-galaxy", *words, "--offline", "--collections-path", build / "collections", cwd=build)
    return build / "collections"


def test_the_collection_installs_from_the_context(installed):
    manifest = installed / "ansible_collections/sessionops/policy/MANIFEST.json"
    assert manifest.is_file()
    said = run("ansible-galaxy", "collection", "list", "--collections-path", installed, cwd=installed)
    assert re.search(r"^sessionops\.policy +\d+\.\d+\.\d+", said, re.M)


def test_the_collection_asks_for_no_packages(installed):
    """Which is why there is no meta/execution-environment.yml: there is nothing to say in it."""
    found = yaml.safe_load(run("ansible-builder", "introspect", installed.parent / "collections", cwd=installed))
    assert not found.get("python") and not found.get("system")


def test_the_image_has_what_reaches_hosts(context):
    definition = (context / "Containerfile").read_text()
    assert "ansible-core>=2.19" in definition and "ansible-runner" in definition
    assert "openssh-clients" in (context / "_build/bindep.txt").read_text()


def test_the_guide_makes_the_same_context(context, tmp_path):
    """Beside the file of a release, as ansible-galaxy fetches it."""
    (block,) = (b for b in blocks(CHECKOUT / "docs/docsite/rst/guide_execution_environment.rst") if b.tested_by)
    (artifact,) = context.parent.glob("sessionops-policy-*.tar.gz")
    shutil.copy(artifact, tmp_path)
    run("/bin/sh", "-e", "-c", block.text, cwd=tmp_path)
    assert {path.relative_to(tmp_path / "context") for path in (tmp_path / "context").rglob("*")} == {
        path.relative_to(context) for path in context.rglob("*")
    }
    assert (tmp_path / "context/Containerfile").read_text() == (context / "Containerfile").read_text()
