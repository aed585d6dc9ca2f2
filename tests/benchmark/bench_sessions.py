# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looking at every session costs, next to what else there is, in one run.

    bench_sessions.py [--image trixie] [--sessions 200] [--rounds 9]

First synthetic trees (2,000 and 20,000 processes), then one real host with real ssh sessions, where it prints the
medians of w, who, loginctl, psutil (if the host can install it) and of the observation, and last a task over ssh.
Needs what the test hosts need (tests/hosts/testhost). A figure for people to read, not a test: nothing fails.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from crowd import CHECKOUT, ENGINE, THERE, crowd, put_engine, testhost

# Runs on the host (and here, for synthetic trees): JSON of {name: [seconds]}.
PROBE = r"""
import json, os, resource, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
root, rounds, mode = sys.argv[2], int(sys.argv[3]), sys.argv[4]
from engine.observe.draft import Roots
from engine.observe.sessions import observe

def bare():
    for pid in os.listdir(root):
        if pid.isdigit():
            try:
                handle = os.open(root + "/" + pid + "/stat", os.O_RDONLY)
            except OSError:
                continue
            os.read(handle, 4096)
            os.close(handle)

def command(*argv):
    def run():
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return run

def loginctl():
    out = subprocess.run(["loginctl", "--no-legend", "list-sessions"], stdout=subprocess.PIPE).stdout
    ids = [line.split()[0] for line in out.decode().splitlines()]
    subprocess.run(["loginctl", "show-session", *ids], stdout=subprocess.DEVNULL)

if mode == "synthetic":
    real = Roots()
    where = Roots(proc=root, utmp=root + "/no", bus=root + "/no", connections=lambda: {},
                  own_pid=lambda: 1, user_ids=lambda name: (1001, 1001), user_name=lambda uid: "user")
else:
    where = Roots()
seen = observe(where)
things = {"bare read of every /proc/N/stat": bare, "session_info's observation": lambda: observe(where)}
if mode != "synthetic":
    things["who -u"] = command("who", "-u")
    things["loginctl list + show"] = loginctl
    things["w"] = command("w")
    try:
        import psutil
        fields = ["pid", "ppid", "name", "username", "terminal", "create_time", "status"]
        things["psutil.process_iter"] = lambda: [p.info for p in psutil.process_iter(fields)]
    except ImportError:
        pass
times = {name: [] for name in things}
for turn in range(rounds):
    for name, thing in things.items():
        if name == "w" and turn > 2:
            continue
        began = time.perf_counter()
        thing()
        times[name].append(time.perf_counter() - began)
count = sum(name.isdigit() for name in os.listdir(root))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"times": times, "sessions": len(seen.sessions), "processes": count, "peak": peak}))
"""


def report(title, found):
    base = statistics.median(found["times"]["bare read of every /proc/N/stat"])
    print(
        f"\n{title}: {found['sessions']} sessions, {found['processes']} processes, peak {found['peak'] / 1024:.0f} MB"
    )
    for name, times in sorted(found["times"].items(), key=lambda entry: statistics.median(entry[1])):
        median = statistics.median(times)
        print(f"  {name:34} {median * 1000:9.1f} ms   {median / base:6.1f} x bare read")
    return statistics.median(found["times"]["session_info's observation"])


# --- synthetic trees --------------------------------------------------------------------------------------------


def tree(root, sessions):
    """`sessions` idle terminals with one pipeline of children each: ten processes a session."""

    def process(pid, comm, ppid, sid, tty, title, uid, files=()):
        folder = root / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "fd").mkdir()
        rest = f"S {ppid} {pid} {sid} {tty} {sid} 4194560 0 0 0 0 1 1 0 0 20 0 1 0 {1000 + pid} 0 0\n"
        (folder / "stat").write_text(f"{pid} ({comm}) {rest}")
        (folder / "cmdline").write_text(title + "\0")
        (folder / "cgroup").write_text(f"0::/user.slice/user-1001.slice/session-{pid // 10}.scope\n")
        os.symlink("pid:[4026531836]", folder / "ns/pid")
        os.symlink("/usr/bin/" + comm, folder / "exe")
        os.chown(folder, uid, uid)

    process(1, "systemd", 0, 1, 0, "/sbin/init", 0)
    process(2, "sshd", 1, 2, 0, "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", 0)
    for number in range(1, sessions + 1):
        pid = number * 10
        process(pid, "sshd", 2, pid, 0, "sshd: user [priv]", 0)
        process(pid + 1, "sshd", pid, pid, 0, f"sshd: user@pts/{number}", 1001)
        tty = 34816 + number % 256
        process(pid + 2, "bash", pid + 1, pid + 2, tty, "-bash", 1001)
        for extra in range(3, 10):
            process(pid + extra, "sleep", pid + 2, pid + 2, tty, "sleep", 1001)


def synthetic(rounds):
    memory = pathlib.Path("/dev/shm")
    took = {}
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        lib = pathlib.Path(folder, "lib")
        shutil.copytree(ENGINE, lib / "engine")
        for sessions in (200, 2000):
            root = pathlib.Path(folder, str(sessions))
            tree(root, sessions)
            out = subprocess.run([sys.executable, "-c", PROBE, lib, root, str(rounds), "synthetic"],
                                 check=True, stdout=subprocess.PIPE).stdout  # fmt: skip
            took[sessions] = report("Synthetic tree", json.loads(out))
            shutil.rmtree(root)
    print(f"  20,000 processes cost {took[2000] / took[200]:.1f} x what 2,000 cost (wanted: at most 12)")


# --- a real host ------------------------------------------------------------------------------------------------


def real(image, sessions, rounds):
    name = "bench"
    testhost("up", f"{name}={image}")
    try:
        testhost("exec", name, "sh", "-c", "apt-get -qq update >/dev/null 2>&1; "
                 "apt-get -qq install -y --no-install-recommends python3-psutil >/dev/null 2>&1; true")  # fmt: skip
        put_engine(name)
        with crowd(name, sessions):
            probe = testhost("exec", name, "python3", "-", THERE, "/proc", str(rounds), "real", input=PROBE)
            report(f"Real host ({image})", json.loads(probe))
            tasks(name, rounds)
    finally:
        testhost("down", name)


def tasks(name, rounds):
    """Tasks over ssh, each the difference between a play of eleven and a play of one."""
    with tempfile.TemporaryDirectory() as folder:
        inventory = pathlib.Path(folder, "hosts.yml")
        testhost("inventory", "--output", str(inventory), name)
        env = {**os.environ, "ANSIBLE_PIPELINING": "1", "ANSIBLE_STDOUT_CALLBACK": "minimal",
               "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "playbooks/collections")}  # fmt: skip
        playbook = pathlib.Path(sys.executable).parent / "ansible-playbook"
        took = {"ping": [], "session_info": []}

        def play(task, count):
            path = pathlib.Path(folder, "play.yml")
            each = {"no_log": True, task: {}}
            path.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [each] * count}]))
            began = time.perf_counter()
            argv = [str(playbook) if playbook.exists() else "ansible-playbook", "-i", str(inventory), str(path)]
            subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - began

        for _turn in range(min(rounds, 5)):
            for short, task in (("ping", "ansible.builtin.ping"), ("session_info", "sessionops.policy.session_info")):
                took[short].append((play(task, 11) - play(task, 1)) / 10)
    base = statistics.median(took["ping"])
    print("\nOne task over ssh, with pipelining")
    for short, times in took.items():
        print(f"  {short:34} {statistics.median(times) * 1000:9.0f} ms   {statistics.median(times) / base:6.2f} x ping")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="trixie")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    synthetic(args.rounds)
    real(args.image, args.sessions, args.rounds)


if __name__ == "__main__":
    main()
