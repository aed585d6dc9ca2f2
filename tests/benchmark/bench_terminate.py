# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ending many idle sessions costs, next to what else there is and to the grace that it waits for, in one run.

    bench_terminate.py [--image trixie] [--sessions 100] [--rounds 3]

Each round seats the people anew and ends all of them: by one session_terminate without a warning, by one with a warning
and its grace, and by a loop of loginctl terminate-session. A figure for people to read, not a test: nothing fails.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from crowd import CHECKOUT, crowd, testhost

WARN = 10
WAYS = {
    "loginctl terminate-session in a loop": None,
    "session_terminate, no warning": {"warn_grace": 0},
    f"session_terminate, {WARN} s after a warning": {"warn_grace": WARN},
}
GRACES = dict.fromkeys(WAYS, 0.0)
GRACES[f"session_terminate, {WARN} s after a warning"] = WARN
LOOP = r"""
for id in $(loginctl --no-legend list-sessions | awk '$3 != "root" {print $1}'); do
  loginctl terminate-session "$id"
done
while pgrep -x bash -u alice,bob,carol,dave,erin >/dev/null; do sleep 0.1; done
"""


def task(folder, name, arguments):
    """Run one task by itself; seconds, and how many sessions it ended."""
    inventory, play = pathlib.Path(folder, "hosts.json"), pathlib.Path(folder, "play.json")
    inventory.write_text(testhost("inventory", name))
    ending = {
        "sessionops.policy.session_terminate": {"kinds": ["terminal"], "min_age": 0, **arguments},
        "register": "ended",
        "no_log": False,
    }
    show = {"ansible.builtin.debug": {"msg": "ended {{ ended.summary.terminated | length }} sessions"}}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [ending, show]}]))
    playbook = pathlib.Path(sys.executable).parent / "ansible-playbook"
    environment = {
        "PATH": f"{playbook.parent}:/usr/bin:/bin:/usr/sbin",
        "HOME": str(pathlib.Path.home()),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "playbooks/collections"),
    }
    began = time.perf_counter()
    done = subprocess.run(
        [str(playbook), "-i", str(inventory), str(play)], env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    took = time.perf_counter() - began
    return took, int(done.stdout.split('"msg": "ended ')[1].split()[0])


def loop(name):
    """The same by hand, over ssh as well."""
    sessions = int(testhost("exec", name, "sh", "-c", "pgrep -c -x bash"))
    began = time.perf_counter()
    testhost("ssh", name, LOOP)
    return time.perf_counter() - began, sessions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="trixie")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    name = "bench-terminate"
    testhost("up", f"{name}={args.image}")
    took = {way: [] for way in WAYS}
    ping = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            for _round in range(args.rounds):
                ping.append(task(folder, name, {"users": ["nobody"]})[0])
                for way, arguments in WAYS.items():
                    with crowd(name, args.sessions):
                        seconds, ended = loop(name) if arguments is None else task(folder, name, arguments)
                        took[way].append(seconds)
                        if ended < args.sessions:
                            print(f"  {way}: only {ended} of {args.sessions} sessions were there to be ended")
    finally:
        testhost("down", name)
    empty = statistics.median(ping)
    print(f"\nEnding {args.sessions} idle sessions ({args.image}), medians of {args.rounds}")
    print(f"  {'session_terminate with nothing to end':44} {empty:6.2f} s")
    for way, seconds in took.items():
        median = statistics.median(seconds)
        over = median - GRACES[way] - (empty if WAYS[way] else 0)
        print(f"  {way:44} {median:6.2f} s   {over:5.2f} s beyond its grace and an empty task")
    print("  wanted: at most 2 s beyond the grace")


if __name__ == "__main__":
    main()
