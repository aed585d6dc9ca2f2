# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts for tests: one per release, started when first needed and left running for the next test."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
TESTHOST = CHECKOUT / "tests/hosts/testhost"
RELEASES = {"deb11": "bullseye", "deb12": "bookworm", "deb13": "trixie", "sysv12": "bookworm-sysvinit"}


def testhost(*argv, **kwargs):
    kwargs.setdefault("check", True)
    return subprocess.run([str(TESTHOST), *argv], text=True, stdout=subprocess.PIPE, **kwargs)


class Host:
    def __init__(self, name, inventory):
        self.name = name
        self.inventory = inventory

    def ssh(self, command, user="root", check=True, stdin=None):
        """Output of a command over a real login."""
        return testhost("ssh", self.name, user + "@", command, check=check, input=stdin or "").stdout

    def inside(self, command, check=True, stdin=None):
        """Output of a shell command that does not come in over ssh."""
        return testhost("exec", self.name, "sh", "-c", command, check=check, input=stdin or "").stdout

    def module(self, name, user="root", **args):
        """Result of a module, by Ansible over ssh."""
        ansible = shutil.which("ansible", path=os.path.dirname(sys.executable)) or "ansible"
        argv = [ansible, "-i", str(self.inventory), self.name, "-u", user]
        argv += ["-m", f"sessionops.policy.{name}", "-a", json.dumps(args)]
        env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "playbooks/collections"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        }
        said = subprocess.run(argv, env=env, text=True, capture_output=True, check=False)
        assert "=> {" in said.stdout, said.stdout + said.stderr
        return json.loads(said.stdout.partition("=> ")[2])


@pytest.fixture(scope="session")
def hosts(tmp_path_factory):
    """get(name): the host of that name in RELEASES, started if it is not running."""
    if os.geteuid() != 0 or not shutil.which("podman"):
        pytest.skip("test hosts need root and podman")
    inventory = tmp_path_factory.mktemp("hosts") / "inventory.yml"
    started = {}

    def get(name):
        if name not in started:
            testhost("up", f"{name}={RELEASES[name]}")
            started[name] = Host(name, inventory)
            testhost("inventory", "--output", str(inventory))
        return started[name]

    return get
