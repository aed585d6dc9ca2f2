# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of session-reaper costs: CPU seconds and peak memory, next to w and to a Python that does nothing.

    bench_reaper.py [--image trixie] [--sessions 200] [--rounds 15]

The role installs it on a host with real ssh sessions, and its timer is stopped. Each command is run in turns, and the
kernel says what each child took; a peak below that of the Python that measures shows as that one's. Needs what the test
hosts need. A figure for people to read: nothing fails.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from crowd import CHECKOUT, crowd, testhost

PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "roles": [{"role": "sessionops.policy.session_reaper", "session_reaper_idle_timeout": "1d"}],
    }
]
COMMANDS = {
    "session-reaper run": ["session-reaper", "run"],
    "w": ["w"],
    "python3 -c pass": ["python3", "-c", "pass"],
}
# Runs on the host: JSON of {name: [[CPU seconds, peak kilobytes], ...]}.
PROBE = r"""
import json, os, subprocess, sys
commands, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
took = {name: [] for name in commands}
for turn in range(rounds):
    for name, argv in commands.items():
        child = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        _pid, status, used = os.wait4(child.pid, 0)
        assert status == 0, (argv, status)
        took[name].append([used.ru_utime + used.ru_stime, used.ru_maxrss])
print(json.dumps(took))
"""


def install(name):
    with tempfile.TemporaryDirectory() as folder:
        inventory, play = pathlib.Path(folder, "hosts.yml"), pathlib.Path(folder, "play.yml")
        testhost("inventory", "--output", str(inventory), name)
        play.write_text(json.dumps(PLAY))
        env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "playbooks/collections")}
        words = [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), str(play)]
        subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL)
    testhost("exec", name, "systemctl", "stop", "session-reaper.timer")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="trixie")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    name = "bench-reaper"
    testhost("up", f"{name}={args.image}")
    try:
        install(name)
        with crowd(name, args.sessions):
            probe = testhost("exec", name, "python3", "-", json.dumps(COMMANDS), str(args.rounds), input=PROBE)
            seen = len(json.loads(testhost("exec", name, "session-reaper", "list", "--json")))
    finally:
        testhost("down", name)
    print(f"\nOne run on a real host ({args.image}), {seen} sessions (wanted: at most 0.15 s of CPU and 30 MB)")
    for command, runs in json.loads(probe).items():
        cpu, peak = (statistics.median(column) for column in zip(*runs))
        print(f"  {command:34} {cpu:9.3f} s   {peak / 1024:6.1f} MB")
        if command == "session-reaper run":
            print(f"  {'a day of it, once a minute':34} {cpu * 1440 / 60:9.1f} min (wanted: under 4)")


if __name__ == "__main__":
    main()
