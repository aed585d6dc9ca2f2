# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test host with many real ssh sessions on it, and the engine beside them."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
ENGINE = CHECKOUT / "plugins/module_utils/_engine"
TESTHOST = CHECKOUT / "tests/hosts/testhost"
#: Where `put_engine` leaves the engine, as the package `engine`.
THERE = "/root/bench"


def testhost(*argv, **more):
    return subprocess.run([str(TESTHOST), *argv], check=True, text=True, stdout=subprocess.PIPE, **more).stdout


@contextlib.contextmanager
def crowd(name, sessions):
    """Seat `sessions` people at idle terminals of the host; they leave at the end."""
    variables = json.loads(testhost("inventory", name))["all"]["vars"]
    options = [*shlex.split(variables["ansible_ssh_common_args"]), "-i", variables["ansible_ssh_private_key_file"]]
    port = testhost("port", name).strip()
    testhost(
        "exec", name, "sh", "-c", "echo 'MaxStartups 1000' > /etc/ssh/sshd_config.d/bench.conf; systemctl reload ssh"
    )
    clients = []
    try:
        for number in range(sessions):
            user = ("alice", "bob", "carol", "dave", "erin")[number % 5]
            clients.append(
                subprocess.Popen(
                    ["ssh", "-tt", "-p", port, *options, f"{user}@127.0.0.1"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            time.sleep(0.05)
        time.sleep(8)
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.wait()


def put_engine(name):
    with tempfile.TemporaryDirectory() as folder:
        archive = shutil.make_archive(os.path.join(folder, "engine"), "tar", ENGINE.parent, ENGINE.name)
        unpack = f"rm -rf {THERE}; mkdir -p {THERE} && tar -x -C {THERE} && mv {THERE}/_engine {THERE}/engine"
        with open(archive, "rb") as handle:
            subprocess.run([TESTHOST, "exec", name, "sh", "-c", unpack], stdin=handle, check=True)
