# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts for tests: `host` is one of each release in turn, booted at its first use and removed at the end."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent.parent
TESTHOST = CHECKOUT / "tests/hosts/testhost"
COLLECTION = "sessionops.policy."


class Host:
    """A booted host, reached over ssh only."""

    def __init__(self, name, image, inventory):
        self.name, self.image, self.inventory = name, image, inventory

    def ssh(self, command, user="root", check=True, stdin=None):
        """What `command` (a line of shell) says on stdout, over a login of `user`."""
        done = subprocess.run(
            [str(TESTHOST), "ssh", self.name, f"{user}@", command],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def write(self, path, text):
        self.ssh(f"mkdir -p '{os.path.dirname(path)}' && cat > '{path}'", stdin=text)

    def module(self, name, /, *, check=False, diff=False, variables=None, **args):
        """What the module returned; `name` without dots is one of this collection."""
        return self.start(name, check=check, diff=diff, variables=variables, **args)()

    def start(self, name, /, *, check=False, diff=False, variables=None, **args):
        """Begin to run the module; the function returned waits for its end and gives what it returned."""
        folder = tempfile.TemporaryDirectory(prefix="result-")
        result = pathlib.Path(folder.name, "result.json")
        argv = [_tool("ansible"), "-i", str(self.inventory), self.name]
        argv += ["-m", name if "." in name else COLLECTION + name, "-a", json.dumps(args)]
        argv += ["--check"] * check + ["--diff"] * diff
        argv += ["--extra-vars", json.dumps(variables)] if variables else []
        env = {
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "playbooks/collections"),
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "result_file",
            "ANSIBLE_PIPELINING": "1",
            "RESULT_FILE": str(result),
        }
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)  # fmt: skip

        def finish():
            with folder:
                said, _ = process.communicate()
                assert result.exists(), said
                return json.loads(result.read_text())

        return finish


def _tool(name):
    beside = pathlib.Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


@pytest.fixture(scope="session", params=["bullseye", "bookworm", "trixie"])
def host(request, tmp_path_factory):
    name = f"pytest-{request.param}"
    subprocess.run([TESTHOST, "up", f"{name}={request.param}"], check=True)
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    subprocess.run([TESTHOST, "inventory", "--output", inventory, name], check=True)
    yield Host(name, request.param, inventory)
    subprocess.run([TESTHOST, "down", name], check=True)
