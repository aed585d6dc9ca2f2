# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hardening run costs on a host that is already hardened.

Side by side on one host over ssh: harden.yml with the layers sshd, shell and logind, a hand-written playbook of
three copy tasks with the same effect, and one ping task. Run by `make benchmark`.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
TESTHOST = [CHECKOUT / "tests/hosts/testhost", "--group", "benchmark"]
RUNS = 5
LAYERS = json.dumps({"session_policy_layers": ["sshd", "shell", "logind"]})


def testhost(*argv: str) -> str:
    return subprocess.run([*TESTHOST, *argv], check=True, text=True, stdout=subprocess.PIPE).stdout


def play(inventory: str, name: pathlib.Path, *argv: str) -> str:
    env = {**os.environ, "ANSIBLE_PIPELINING": "true", "ANSIBLE_NOCOLOR": "true"}
    done = subprocess.run(
        ["ansible-playbook", "-i", inventory, str(name), *argv],
        env=env,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise SystemExit(done.stdout)
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as tmp:
        inventory, hardened = f"{tmp}/hosts.json", f"{tmp}/hardened"
        testhost("up", "bench=bookworm")
        try:
            testhost("inventory", "--output", inventory)
            measure(inventory, hardened)
        finally:
            testhost("down")


def measure(inventory: str, hardened: str) -> None:
    harden = (CHECKOUT / "playbooks/harden.yml", "-e", LAYERS)
    play(inventory, *harden)
    logind = testhost("exec", "bench", "sh", "-c", "ls /etc/systemd/logind.conf.d/*session-policy*").strip()
    os.mkdir(hardened)
    archive = subprocess.run(
        [
            *TESTHOST,
            "exec",
            "bench",
            "tar",
            "-cf",
            "-",
            "-C",
            "/",
            "etc/ssh/sshd_config.d",
            "etc/profile.d",
            logind[1:],
        ],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    subprocess.run(["tar", "-xf", "-", "-C", hardened], input=archive, check=True)
    variants = {
        "harden.yml, second run": harden,
        "three copy tasks": (HERE / "three_copies.yml", "-e", json.dumps({"hardened": hardened, "logind": logind})),
        "one ping task": (HERE / "ping.yml",),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(RUNS + 1):
        for name, argv in variants.items():
            began = time.monotonic()
            out = play(inventory, *argv)
            if turn:  # the first turn warms caches and connections
                seconds[name].append(time.monotonic() - began)
            if "changed=0" not in out:
                raise SystemExit(f"{name} changed something at a run that should find nothing to do:\n{out}")
    # Each EXEC, PUT or FETCH is a trip to the host and back.
    trips = {name: play(inventory, *argv, "-vvv").count("SSH: EXEC ") for name, argv in variants.items()}
    ours, copies, ping = (statistics.median(seconds[name]) for name in variants)
    print(f"{'medians of ' + str(RUNS) + ' runs, one host over ssh':<44}{'seconds':>8}{'trips':>7}")
    for name in variants:
        low, high = min(seconds[name]), max(seconds[name])
        print(f"{name:<30}{low:6.2f} …{high:5.2f}{statistics.median(seconds[name]):9.2f}{trips[name]:7d}")
    print(f"harden.yml : three copy tasks = {ours / copies:.2f} (wanted: at most 1.30)")
    print(f"harden.yml : one ping task    = {ours / ping:.2f}")


if __name__ == "__main__":
    main()
