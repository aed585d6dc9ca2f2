# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real hosts, the roles run on them, and people at terminals who log in over ssh."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[4]
TESTHOST = CHECKOUT / "tests/hosts/testhost"
RELEASES = {"effect11": "bullseye", "effect12": "bookworm", "effect13": "trixie"}
PROMPT = re.compile(r"[$%#>]\s*\Z")


def run(*argv, **kw):
    return subprocess.run([str(a) for a in argv], text=True, capture_output=True, **kw)


class Host:
    def __init__(self, name, spec, shared):
        self.name = name
        self.release = spec["testhost_image"]
        self._port = spec["ansible_port"]
        self._options = shlex.split(shared["ansible_ssh_common_args"])
        self._key = shared["ansible_ssh_private_key_file"]

    def ssh_argv(self, user, *options):
        where = ["-p", str(self._port), f"{user}@127.0.0.1"]
        return ["ssh", "-i", self._key, *self._options, *options, *where]

    def ssh(self, user, command, *options):
        """A command over ssh, without a terminal unless `options` ask for one."""
        return run(*self.ssh_argv(user, *options), command, stdin=subprocess.DEVNULL, timeout=60)

    def root(self, script):
        """A script inside the host, past ssh and PAM."""
        done = run(TESTHOST, "exec", self.name, "sh", "-ec", script, stdin=subprocess.DEVNULL, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


class Person:
    """Somebody at a terminal: types, reads the screen, and notes when the connection ends."""

    _numbers = itertools.count()

    def __init__(self, server, folder, host, user):
        self._tmux = ["tmux", "-L", server]
        self._name = f"person{next(self._numbers)}"
        self._end = folder / self._name
        end = shlex.quote(str(self._end))
        line = f"{shlex.join(host.ssh_argv(user, '-tt'))}; date +%s.%N > {end}.new; mv {end}.new {end}; exec sleep 600"
        self._do("new-session", "-d", "-x", "120", "-y", "40", "-s", self._name, line)
        self.started = None

    def _do(self, *argv):
        done = run(*self._tmux, "-f", "/dev/null", *argv, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, text):
        self._do("send-keys", "-l", "-t", self._name, text)
        self._do("send-keys", "-t", self._name, "Enter")

    def screen(self):
        return self._do("capture-pane", "-p", "-t", self._name).rstrip()

    def reads(self, pattern, limit=20):
        """The match on the screen, waited for."""
        end = time.time() + limit
        while time.time() < end:
            found = re.search(pattern, self.screen(), re.M)
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{pattern!r} did not show up on:\n{self.screen()}")

    def at_prompt(self, limit=20):
        self.reads(PROMPT.pattern, limit)
        self.started = time.time()
        return self

    @property
    def ended_after(self):
        """Seconds from the prompt to the end of the connection; None while it lives."""
        return float(self._end.read_text()) - self.started if self._end.exists() else None

    def leaves(self):
        self._do("kill-session", "-t", self._name)


@pytest.fixture(scope="session")
def hosts():
    up = run(TESTHOST, "up", *(f"{name}={image}" for name, image in RELEASES.items()))
    assert up.returncode == 0, up.stderr
    try:
        inventory = json.loads(run(TESTHOST, "inventory", *RELEASES, check=True).stdout)["all"]
        yield {name: Host(name, spec, inventory["vars"]) for name, spec in inventory["hosts"].items()}
    finally:
        run(TESTHOST, "down", *RELEASES)


@pytest.fixture(params=list(RELEASES))
def host(request, hosts):
    return hosts[request.param]


@pytest.fixture(scope="session")
def login(tmp_path_factory):
    """login(host, user): a person at a terminal."""
    server = f"sessionops-{os.getpid()}"
    folder = tmp_path_factory.mktemp("people")
    yield lambda host, user: Person(server, folder, host, user)
    run("tmux", "-L", server, "kill-server")


class Applied:
    def __init__(self, output):
        self.output = output
        self.changed = {name: int(n) for name, n in re.findall(r"^(\S+)\s+: ok=.*? changed=(\d+)", output, re.M)}


@pytest.fixture(scope="session")
def apply(hosts, tmp_path_factory):
    """apply(role, **variables): the role on all hosts, over ssh; its output."""
    folder = tmp_path_factory.mktemp("play")
    inventory = folder / "inventory.yml"
    run(TESTHOST, "inventory", *RELEASES, "--output", inventory, check=True)
    bin_dirs = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    playbook = shutil.which("ansible-playbook", path=bin_dirs)
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "playbooks/collections"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0",
    }

    def apply(role, **variables):
        play = folder / "play.yml"
        task = {"ansible.builtin.include_role": {"name": f"sessionops.policy.{role}"}}
        play.write_text(
            json.dumps(
                [{"hosts": "all", "gather_facts": False, "vars": {f"{role}_{k}": v for k, v in variables.items()},
                  "tasks": [task]}]
            )
        )  # fmt: skip
        done = run(playbook, "-i", inventory, play, env=env, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return Applied(done.stdout)

    return apply


FINGERPRINT = "cd /etc; find . -printf '%p %y %m %u %g %l\\n' | sort; find . -type f -exec sha1sum {} + | sort"


@pytest.fixture(name="run")
def run_fixture():
    return run


@pytest.fixture
def fingerprint():
    """fingerprint(host): names, modes, owners and bytes of all of /etc, and what is in /var/lib."""
    return lambda host: host.root(f"{FINGERPRINT}; ls /var/lib")
