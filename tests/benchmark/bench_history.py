# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to look why sessions ended in the last day, with a million lines in the log.

    bench_history.py [--image bookworm] [--lines 1000000] [--rounds 5]

The lines are of sessions as sshd logs them, spread over 30 days or all in the last one, once in plain files (one of
them rotated and packed long ago) and once in the journal of a real host, which systemd-journal-remote writes there with
the times of the past. Seconds, those of the CPU (which a busy machine does not change) and the peak of the memory are of
the whole observation in a process of its own. A figure for people to read, not a test: nothing fails.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
ENGINE = CHECKOUT / "plugins/module_utils/_engine"
TESTHOST = CHECKOUT / "tests/hosts/testhost"
DAY = 86400
USERS = 40
WANTED = "wanted: under 3 s, under 80 MB"

# Runs where the log is: JSON of seconds, MB and how many endings were found.
PROBE = r"""
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
from engine.judge_history import Query
from engine.observe.history import Places, observe
now = float(sys.argv[3])
seen = observe(Places(root=sys.argv[2], now=lambda: now), Query(now - 86400, now))
took = time.perf_counter() - began
own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
# ru_maxrss keeps what was before exec.
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({
    "seconds": took, "cpu": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
    "peak": peak / 1024, "children": children.ru_maxrss / 1024,
    "endings": sum(seen.counts.values()), "sources": {source.name: source.lines for source in seen.sources},
}))
"""

# What one session leaves at LogLevel VERBOSE: seconds after its beginning, who writes it, and what.
SESSION = (
    (0.0, "root", 'Connection from 192.0.2.{host} port {port} on 192.0.2.1 port 22 rdomain ""'),
    (0.1, "root", "Accepted key ED25519 SHA256:abc found at /home/user{user}/.ssh/authorized_keys:1"),
    (0.1, "root", "Accepted publickey for user{user} from 192.0.2.{host} port {port} ssh2: ED25519 SHA256:abc"),
    (0.1, "root", "pam_unix(sshd:session): session opened for user user{user}(uid={uid}) by (uid=0)"),
    (0.2, "root", "User child is on pid {child}"),
    (0.2, "user", "Starting session: shell on pts/1 for user{user} from 192.0.2.{host} port {port} id 0"),
    (60.0, "user", "Received disconnect from 192.0.2.{host} port {port}:11: disconnected by user"),
    (60.0, "user", "Disconnected from user user{user} 192.0.2.{host} port {port}"),
    (60.1, "root", "pam_unix(sshd:session): session closed for user user{user}"),
)


def lines(count, end, days):
    """`count` lines in the order of time: at, writer, uid, pid, text."""
    sessions = count // len(SESSION)
    step = days * DAY / sessions
    waiting = []
    for number in range(sessions):
        began = end - days * DAY + number * step - 70
        known = {"user": number % USERS, "uid": 1001 + number % USERS, "host": number % 250 + 1}
        known.update(port=10000 + number % 50000, child=2 + (2 * number + 1) % 4_000_000)
        for after, writer, text in SESSION:
            pid = known["child"] if writer == "user" else known["child"] - 1
            uid = known["uid"] if writer == "user" else 0
            waiting.append((began + after, number, uid, pid, text.format(**known)))
        if len(waiting) > 200_000:
            waiting.sort()
            ready, waiting = waiting[:150_000], waiting[150_000:]
            yield from ready
    yield from sorted(waiting)


def files(folder, count, end, days):
    """auth.log, and its older half as auth.log.1.gz."""
    logs = pathlib.Path(folder, "var/log")
    logs.mkdir(parents=True)
    with gzip.open(logs / "auth.log.1.gz", "wt", compresslevel=1) as old, open(logs / "auth.log", "w") as new:
        for at, number, _uid, pid, text in lines(count, end, days):
            stamp = time.strftime("%b %e %H:%M:%S", time.localtime(at))
            (old if number < count // len(SESSION) // 2 else new).write(f"{stamp} host sshd[{pid}]: {text}\n")
    rotated = end - days * DAY / 2
    os.utime(logs / "auth.log.1.gz", (rotated, rotated))


def export(stream, count, end, days):
    """The same in the Journal Export Format (https://systemd.io/JOURNAL_EXPORT_FORMATS/)."""
    boot = "0" * 31 + "1"
    for at, _number, uid, pid, text in lines(count, end, days):
        micro = int(at * 1e6)
        stream.write(
            f"__REALTIME_TIMESTAMP={micro}\n__MONOTONIC_TIMESTAMP={micro - int((end - 40 * DAY) * 1e6)}\n"
            f"_BOOT_ID={boot}\n_MACHINE_ID={boot}\n_TRANSPORT=syslog\nPRIORITY=6\nSYSLOG_IDENTIFIER=sshd\n"
            f"_UID={uid}\n_PID={pid}\n_COMM=sshd\n_EXE=/usr/sbin/sshd\nMESSAGE={text}\n\n"
        )


def report(title, runs):
    seconds = statistics.median(run["seconds"] for run in runs)
    last = runs[-1]
    peak = max(run["peak"] for run in runs)
    cpu = statistics.median(run["cpu"] for run in runs)
    print(f"  {title:30} {seconds:6.2f} s ({cpu:.2f} s of CPU) {peak:5.0f} MB (journalctl {last['children']:.0f} MB)  "
          f"{last['endings']} endings, {last['sources']}", flush=True)  # fmt: skip


def plain(count, rounds):
    print(f"Plain files here, {count} lines ({WANTED})", flush=True)
    for days, title in ((30, "the last day of thirty"), (1, "all of them in the last day")):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(ENGINE, pathlib.Path(folder, "lib/engine"))
            end = time.time()
            files(folder, count, end, days)
            argv = [sys.executable, "-c", PROBE, f"{folder}/lib", folder, str(end)]
            env = {"PATH": "/nonexistent"}  # There is no journal for it.
            done = [subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=env).stdout for _turn in range(rounds)]
            report(title, [json.loads(said) for said in done])


def testhost(*argv, **more):
    return subprocess.run([str(TESTHOST), "--group", "benchmark", *argv], check=True, text=True, **more)


def journal(image, count, rounds):
    name = "history"
    testhost("up", f"{name}={image}")
    inside = ("exec", name, "sh", "-c")
    try:
        testhost(*inside, "apt-get -qq update && apt-get -qq install -y --no-install-recommends systemd-journal-remote",
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            archive = shutil.make_archive(f"{folder}/engine", "tar", ENGINE.parent, ENGINE.name)
            with open(archive, "rb") as handle:
                unpack = "mkdir -p /root/bench && tar -x -C /root/bench && mv /root/bench/_engine /root/bench/engine"
                testhost(*inside, unpack, stdin=handle)
        print(f"The journal of a real host ({image}), {count} lines ({WANTED})", flush=True)
        for days, title in ((30, "the last day of thirty"), (1, "all of them in the last day")):
            end = time.time()
            remote = "/usr/lib/systemd/systemd-journal-remote"
            write = (
                f"rm -f /var/log/journal/*/bench*.journal; cd /var/log/journal/* && {remote} -o $PWD/bench.journal -"
            )
            argv = [str(TESTHOST), "--group", "benchmark", *inside, write]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as writer:
                export(writer.stdin, count, end, days)
            runs = []
            for _turn in range(rounds):
                probe = testhost("exec", name, "python3", "-", "/root/bench", "/", str(end), input=PROBE,
                                 stdout=subprocess.PIPE).stdout  # fmt: skip
                runs.append(json.loads(probe))
            report(title, runs)
    finally:
        testhost("down", name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="bookworm")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    plain(args.lines, args.rounds)
    journal(args.image, args.lines, args.rounds)


if __name__ == "__main__":
    main()
