# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real people on real hosts: each way in that session_info tells apart, all at once on one host of each release."""

from __future__ import annotations

import os
import pathlib
import shlex
import signal
import subprocess
import time

import pytest
from realhosts import RELEASES, booted


@pytest.fixture(scope="module", params=sorted(RELEASES))
def host(request):
    name = f"{request.path.stem.replace('test_', '').replace('_', '-')}-{request.param}"
    with booted(name, RELEASES.get(request.param, request.param)) as machine:
        yield machine


class People:
    """Clients of one host, each in a pane of a tmux server of our own; `type` presses their keys."""

    def __init__(self, host, folder):
        self.host, self.folder = host, folder
        self.server = f"people-{os.getpid()}-{host.name}"
        self.frozen = []
        variables = host.variables
        self.ssh = shlex.split(variables["ansible_ssh_common_args"])
        self.options = [*self.ssh, "-i", variables["ansible_ssh_private_key_file"]]
        self.port = str(variables["ansible_port"])

    def open(self, name, argv):
        # Not the pane's own process: tmux sends that one SIGCONT when it is stopped.
        command = shlex.join(str(word) for word in argv) + "; true"
        subprocess.run(["tmux", "-L", self.server, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30",
                        "-s", name, "sh", "-c", command], check=True)  # fmt: skip

    def login(self, name, user, *command, options=()):
        self.open(name, ["ssh", "-p", self.port, *self.options, *options, f"{user}@127.0.0.1", *command])

    def inside(self, name, *argv):
        """A program run on the host that is part of no ssh session."""
        variables = self.host.variables
        enter = [*shlex.split(variables["testhost_enter"]), "podman", "exec", "-i", variables["testhost_container"]]
        self.open(name, [*enter, *argv])

    def type(self, name, *keys):
        keys = [key[:-1] + "\\;" if key.endswith(";") else key for key in keys]  # to tmux it ends a command
        subprocess.run(["tmux", "-L", self.server, "send-keys", "-t", f"={name}:", *keys], check=True)

    def screen(self, name):
        return _said(["tmux", "-L", self.server, "capture-pane", "-p", "-t", f"={name}:"])

    def await_screen(self, name, text, seconds=15):
        end = time.time() + seconds
        while time.time() < end:
            if text in self.screen(name):
                return
            time.sleep(0.2)
        raise AssertionError(f"{name} never showed {text!r}: {self.screen(name)}")

    def pid(self, name):
        """The pid of the client."""
        pane = _said(["tmux", "-L", self.server, "list-panes", "-t", f"={name}:", "-F", "#{pane_pid}"]).strip()
        return int(pathlib.Path(f"/proc/{pane}/task/{pane}/children").read_text().split()[0])

    def freeze(self, name):
        self.frozen.append(self.pid(name))
        os.kill(self.frozen[-1], signal.SIGSTOP)

    def leave(self):
        for pid in self.frozen:
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["tmux", "-L", self.server, "kill-server"], check=False)


def _said(argv):
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def people(host, tmp_path_factory):
    there = People(host, tmp_path_factory.mktemp("people"))
    there.open("keep", ["sleep", "3600"])
    yield there
    there.leave()
