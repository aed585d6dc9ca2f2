# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet costs its controller: 30 real hosts over ssh, Debian 11, 12 and 13 in turn.

harden.yml, on hosts that are hardened already, and report.yml beside one ping task a host: seconds a host by forks and by
the number of hosts, and the controller's memory. Hosts and controller share this machine's processors, so more forks
than it has of them bring little here. Run by `make benchmark-fleet`; HOSTS and RUNS make it smaller.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
import typing as t

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
TESTHOST = [CHECKOUT / "tests/hosts/testhost", "--group", "fleet"]
IMAGES = ("bullseye", "bookworm", "trixie")
HOSTS, RUNS = int(os.environ.get("HOSTS") or 30), int(os.environ.get("RUNS") or 3)
FORKS = (2, 5, 10, 25)
# At which forks the growth with the number of hosts is measured.
GROWTH_FORKS = 10
EVERY = 0.2


class Memory(t.NamedTuple):
    """Of a controller, in MB: the most that ansible-playbook had resident (VmHWM), the most that any of its forks had,
    and the most that all of them and the ssh clients that they ran had together (Pss: a shared page counts once)."""

    main: float = 0
    fork: float = 0
    together: float = 0

    def most(self, other: Memory) -> Memory:
        return Memory(*map(max, self, other))


def field(pid: int, file: str, name: str) -> float:
    """A size of /proc/PID/FILE in MB; 0 if the process is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0


def below(pid: int) -> list[int]:
    """The process's descendants."""
    found = []
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *below(child)]
    except OSError:
        pass
    return found


def is_fork(pid: int, main: int) -> bool:
    """Whether the process still runs the program of `main`; a worker's ssh does not."""
    try:
        return os.path.samefile(f"/proc/{pid}/exe", f"/proc/{main}/exe")
    except OSError:
        return False


def memory(pid: int) -> Memory:
    others = below(pid)
    return Memory(
        field(pid, "status", "VmHWM"),
        max((field(other, "status", "VmHWM") for other in others if is_fork(other, pid)), default=0),
        sum(field(each, "smaps_rollup", "Pss") for each in (pid, *others)),
    )


def play(argv: t.Sequence[object], watched: bool = False) -> tuple[float, str, Memory]:
    """Seconds that ansible-playbook took, what it said, and its memory if that was to be watched."""
    env = {**os.environ, "ANSIBLE_PIPELINING": "true", "ANSIBLE_NOCOLOR": "true"}
    most = Memory()
    with tempfile.TemporaryFile("w+") as said:
        began = time.monotonic()
        words = ["ansible-playbook", *map(str, argv)]
        process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        while watched and process.poll() is None:
            most = most.most(memory(process.pid))
            time.sleep(EVERY)
        status = process.wait()
        seconds = time.monotonic() - began
        said.seek(0)
        text = said.read()
    if status:
        raise SystemExit(text)
    return seconds, text, most


class Fleet:
    def __init__(self, folder: pathlib.Path, names: t.Sequence[str]):
        self.names = names
        self.inventory = folder / "hosts.json"
        self._report = json.dumps({"session_policy_output": str(folder / "out")})

    def variants(self) -> dict[str, list[object]]:
        return {
            "one ping": [HERE / "ping.yml"],
            "harden.yml": [CHECKOUT / "playbooks/harden.yml"],
            "report.yml": [CHECKOUT / "playbooks/report.yml", "-e", self._report],
        }

    def run(self, name: str, hosts: int, forks: int, watched: bool = False) -> tuple[float, Memory]:
        limit = ",".join(self.names[:hosts])
        words = ["-i", self.inventory, "--forks", forks, "--limit", limit, *self.variants()[name]]
        seconds, said, most = play(words, watched)
        if said.count("changed=0") != hosts:
            raise SystemExit(f"{name} changed something at a run that should find nothing to do:\n{said}")
        return seconds, most

    def measure(self, hosts: int, forks: int) -> tuple[dict[str, list[float]], dict[str, Memory]]:
        """Seconds of each run, and the memory at a run before them, which also warms connections."""
        seconds: dict[str, list[float]] = {name: [] for name in self.variants()}
        most = {name: self.run(name, hosts, forks, watched=True)[1] for name in seconds}
        for _turn in range(RUNS):
            for name, taken in seconds.items():
                taken.append(self.run(name, hosts, forks)[0])
        return seconds, most


def row(first: object, hosts: int, seconds: dict[str, list[float]]) -> str:
    a_host = {name: statistics.median(taken) / hosts for name, taken in seconds.items()}
    cells = [f"{first:>5}"]
    for name, taken in seconds.items():
        ratio = "" if name == "one ping" else f" = {a_host[name] / a_host['one ping']:5.2f} pings"
        cells.append(f"{min(taken) / hosts:6.3f} …{max(taken) / hosts:6.3f}{a_host[name]:8.3f}{ratio}")
    return "  ".join(cells)


def head(first: str) -> str:
    return f"{first:>5}  {'one ping':>22}  {'harden.yml, second run':>36}  {'report.yml':>36}"


def main() -> None:
    names = [f"fleet{number:02d}" for number in range(1, HOSTS + 1)]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as tmp:
        fleet = Fleet(pathlib.Path(tmp), names)
        try:
            began = time.monotonic()
            specs = [f"{name}={IMAGES[place % len(IMAGES)]}" for place, name in enumerate(names)]
            subprocess.run([*TESTHOST, "up", *specs], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([*TESTHOST, "inventory", "--output", fleet.inventory], check=True)
            print(f"{HOSTS} hosts booted in {time.monotonic() - began:.0f} s", flush=True)
            words = ["-i", fleet.inventory, "--forks", GROWTH_FORKS, CHECKOUT / "playbooks/harden.yml"]
            seconds, said, most = play(words, watched=True)
            if "changed=0" in said:
                raise SystemExit(f"a host was hardened before:\n{said}")
            print(f"harden.yml, first run, forks {GROWTH_FORKS}: {seconds / HOSTS:.3f} seconds a host", flush=True)
            report(fleet, most)
        finally:
            subprocess.run([*TESTHOST, "down"], check=True)


def report(fleet: Fleet, first: Memory) -> None:
    print(f"seconds a host: lowest, highest, median of {RUNS} runs; {HOSTS} hosts\n{head('forks')}", flush=True)
    memories = {"harden.yml, first run": (GROWTH_FORKS, first)}
    grown: dict[int, dict[str, list[float]]] = {}
    for forks in FORKS:
        seconds, most = fleet.measure(HOSTS, forks)
        print(row(forks, HOSTS, seconds), flush=True)
        for name, of_it in most.items():
            _forks, before = memories.get(name, (forks, Memory()))
            memories[name] = (forks, before.most(of_it))
        if forks == GROWTH_FORKS:
            grown[HOSTS] = seconds
    print(f"forks {GROWTH_FORKS}, by the number of hosts\n{head('hosts')}", flush=True)
    steps = sorted({max(1, HOSTS // 3), max(1, HOSTS * 2 // 3), HOSTS})
    for hosts in steps:
        grown[hosts] = grown.get(hosts) or fleet.measure(hosts, GROWTH_FORKS)[0]
        print(row(hosts, hosts, grown[hosts]), flush=True)
    low, high = steps[0], steps[-1]
    for name in fleet.variants():
        a_host = {hosts: statistics.median(grown[hosts][name]) / hosts for hosts in (low, high)}
        print(f"{name}: seconds a host with {high} hosts : with {low} = {a_host[high] / a_host[low]:.2f} (linear: 1)")
    print("memory of the controller in MB: ansible-playbook (VmHWM), its largest fork (VmHWM), all with ssh (Pss)")
    for name, (forks, most) in memories.items():
        print(f"{name:<22} up to forks {forks:<3}{most.main:8.0f}{most.fork:8.0f}{most.together:8.0f}")
    print("(wanted: under 400 MB)")


if __name__ == "__main__":
    main()
