# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the pictures of the documentation anew, into docs/site/images: run by `make pictures`.

Three real hosts are booted and two of them hardened, people log in over ssh and work, and what they leave is what the
report of the collection then shows in a real browser, and `session-reaper list` in a recorded terminal.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
import sys
import tempfile
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / "molecule/hosts"), str(CHECKOUT / "tests/browser")]
os.environ["MOLECULE_SCENARIO_NAME"] = "pictures"  # the group of the hosts
os.environ["SE_OFFLINE"] = "true"

from chromium import Browser, chromium  # noqa: E402
from realhosts import Machine, Person, booted, cut_off, playbook  # noqa: E402

IMAGES = CHECKOUT / "docs/site/images"
HOSTS = {"web1": "trixie", "db1": "bookworm", "old1": "bullseye"}
# Nothing but the reaper ends who is idle, and it warns for a minute before: time for the pictures.
POLICY = {
    "session_policy_idle_timeout": "1m",
    "session_policy_layers": ["sshd", "reaper"],
    "session_policy_exempt_users": ["dave"],
}
AT_WORK = {
    "alice": "",
    "bob": "vim notes.txt",
    "carol": "make-report() { sleep 3000; }; make-report &",
    "dave": "top",
}
#: Seconds until who does nothing is idle to the policy, and the longest step of a terminal's time beyond it.
UNTIL_IDLE = 60 + 9
COLUMNS, ROWS = 100, 20


def at_work(stack: contextlib.ExitStack, machine: Machine) -> None:
    for user, typed in AT_WORK.items():
        person = stack.enter_context(Person(machine, user)).at_prompt()
        if typed:
            person.type(typed)


def record(machine: Machine, path: pathlib.Path) -> None:
    """Root's terminal on a host as an asciicast, while somebody types."""
    login = shlex.join(machine.ssh_argv("root", "-tt"))
    size = ["--cols", str(COLUMNS), "--rows", str(ROWS)]
    words = [
        pathlib.Path(sys.executable).with_name("asciinema"),
        "rec",
        "--quiet",
        "--overwrite",
        "--idle-time-limit=2",
    ]
    client = [str(word) for word in [*words, *size, "--command", login, path]]
    with Person(machine, "root", client=client) as root:
        root.at_prompt()
        for line in ("session-reaper list", "session-reaper run --dry-run", "session-reaper why erin"):
            for letter in line:
                root.type(letter, enter=False)
                time.sleep(0.05)
            root.key("Enter")
            root.at_prompt()
            time.sleep(1)
        root.type("exit")
        root.leaves_within(10)


def photograph(browser: Browser, page: pathlib.Path) -> None:
    browser.open(page)
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        browser.screen(1440, 900)
        browser.picture(IMAGES / f"report-{scheme}.png")
    browser.scheme("light")
    for heading in ("matrix", "sessions"):
        browser.run("document.getElementById(args[0]).scrollIntoView();", heading)
        browser.picture(IMAGES / f"report-{heading}.png")
    browser.screen(390, 844)
    browser.run("scrollTo(0, 0);")
    browser.picture(IMAGES / "report-phone.png")


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        hosts = [stack.enter_context(booted(name, image)) for name, image in HOSTS.items()]
        web1, db1, old1 = hosts
        cut_off(web1, "erin")
        playbook([web1, db1], CHECKOUT / "playbooks/harden.yml", **POLICY)
        web1.exec("touch /root/.hushlogin")
        for machine in (web1, old1):
            at_work(stack, machine)
        time.sleep(UNTIL_IDLE)
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pictures-")))
        record(web1, IMAGES / "session-reaper-list.cast")
        playbook(hosts, CHECKOUT / "playbooks/report.yml", session_policy_output=str(folder), **POLICY)
        with chromium(folder / "profile") as browser:
            photograph(browser, folder / "report.html")
    for path in sorted(IMAGES.iterdir()):
        print(f"{path.relative_to(CHECKOUT)}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
