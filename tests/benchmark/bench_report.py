# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report costs a host, and how fast its page is.

50 hosts that are this machine, over local connections at forks 2: report.yml, which only looks, beside one ping task a
host. Then the page of 500 hosts with 20 sessions each in a browser. Run by `make benchmark`.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path.insert(0, str(CHECKOUT / "tests/browser"))

from ansible_collections.sessionops.policy.plugins.plugin_utils._report import report_files  # noqa: E402
from chromium import chromium  # noqa: E402
from fleet import fleet  # noqa: E402

HOSTS, FORKS, RUNS = 50, 2, 5
VARIABLES = {
    "ansible_connection": "local",
    "ansible_python_interpreter": "/usr/bin/python3",
    "ansible_become": False,
}


def play(inventory: pathlib.Path, name: pathlib.Path, *argv: str) -> float:
    """Seconds that ansible-playbook takes."""
    env = {**os.environ, "ANSIBLE_PIPELINING": "true", "ANSIBLE_NOCOLOR": "true"}
    words = ["ansible-playbook", "-i", str(inventory), "-f", str(FORKS), str(name), *argv]
    began = time.monotonic()
    done = subprocess.run(words, env=env, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seconds = time.monotonic() - began
    if done.returncode or "changed=0" not in done.stdout:
        raise SystemExit(done.stdout)
    return seconds


def measure_run(folder: pathlib.Path) -> None:
    inventory = folder / "hosts.json"
    hosts = {f"host{number:02d}": {} for number in range(HOSTS)}
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": VARIABLES}}))
    variants = {
        "report.yml": (
            CHECKOUT / "playbooks/report.yml",
            "-e",
            json.dumps({"session_policy_output": str(folder / "out")}),
        ),
        "one ping task": (HERE / "ping.yml",),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(RUNS + 1):
        for name, argv in variants.items():
            took = play(inventory, *argv)
            if turn:  # the first turn warms caches
                seconds[name].append(took / HOSTS)
    print(f"{f'medians of {RUNS} runs, {HOSTS} local hosts, forks {FORKS}':<44}{'seconds a host':>15}")
    for name, taken in seconds.items():
        print(f"{name:<27}{min(taken):7.3f} …{max(taken):6.3f}{statistics.median(taken):17.3f}")
    ours, ping = (statistics.median(taken) for taken in seconds.values())
    print(f"report.yml : one ping task = {ours / ping:.2f} (wanted: at most 2.50)")


def measure_page(folder: pathlib.Path) -> None:
    page = folder / "report.html"
    began = time.monotonic()
    page.write_text(report_files(*fleet(500, 20), None)["report.html"], encoding="utf-8")
    written = time.monotonic() - began
    opened, filtered, sorted_ = [], [], []
    with chromium(folder / "profile") as browser:
        for _turn in range(RUNS):
            browser.open(page)
            load, filtering, sorting = browser.run(
                """const place = document.querySelector("#session-table");
                // Until what was drawn is on the screen.
                const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
                await painted();
                const load = performance.now();
                const field = place.querySelector("input");
                field.value = "web003 vim";
                let began = performance.now();
                field.dispatchEvent(new Event("input", {bubbles: true}));
                await painted();
                const filtering = performance.now() - began;
                began = performance.now();
                place.querySelectorAll("thead button")[7].click();
                await painted();
                return [load, filtering, performance.now() - began];"""
            )
            opened.append(load)
            filtered.append(filtering)
            sorted_.append(sorting)
    print(f"page of 500 hosts, 10,000 sessions: {page.stat().st_size / 1e6:.1f} MB, written in {written:.2f} s")
    for what, taken in (("to open", opened), ("to filter", filtered), ("to sort", sorted_)):
        print(f"{what:<27}{min(taken):7.0f} …{max(taken):6.0f}{statistics.median(taken):14.0f} ms")
    print("(wanted: open in under 2000 ms)")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        measure_run(pathlib.Path(folder))
        measure_page(pathlib.Path(folder))


if __name__ == "__main__":
    main()
