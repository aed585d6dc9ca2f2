# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller's folder and real hosts, on which the examples of a page are run in their order, as a reader would."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import shlex
import time
import typing as t

import yaml
from blocks import Block
from realhosts import CHECKOUT, Done, Machine, Person, environment, run

#: What these examples need before their first block, beside the hosts.
NEEDS_REAPER = {"README.md", "reference.rst", "troubleshooting.rst"}
NEEDS_POLICY = {"howto_single_modules.rst"}
NEEDS_PEOPLE = {"README.md", "howto_stuck_session.rst"}
#: These make targets do what they are for; of others only the plan is looked at, as they would come back here.
TARGETS = {"harden", "audit", "report"}
#: With these, people who have just sat down are as idle as those in the examples, who were away for an hour.
IMPATIENT = {
    "session_policy_idle_timeout": "30s",
    "session_policy_cleanup": {"min_age": 0, "warn_grace": "1s"},
}


@dataclasses.dataclass
class Stage:
    page: str
    machine: Machine
    others: Machine
    folder: pathlib.Path
    collections: pathlib.Path
    people: dict[str, Person] = dataclasses.field(default_factory=dict)
    seated: float = 0.0
    said: str = ""

    @property
    def name(self) -> str:
        return pathlib.Path(self.page).name

    def prepare(self) -> None:
        """What a reader has before the first line of the page."""
        (self.folder / "hosts.ini").write_text("web1\n")
        self.know({"web1"})
        if self.name in NEEDS_REAPER:
            self.machine.role("session_reaper", session_reaper_mode="report")
        if self.name in NEEDS_POLICY:
            self.machine.harden()
        if self.name == "README.md":
            self._freeze_somebody()
        if self.name in NEEDS_PEOPLE:
            self.seat()

    def seat(self) -> None:
        """Those who are in the examples, as far as they are not there: alice at her prompt, bob in an editor, carol with
        something that she wants to outlive her session."""
        doing = {"alice": "", "bob": "vim notes.txt", "carol": "setsid --fork sleep 600 >/dev/null 2>&1 </dev/null"}
        for user, typed in doing.items():
            if user not in self.people or not self.people[user].connected:
                self.people[user] = person = Person(self.machine, user).at_prompt()
                self.seated = time.monotonic()
                if typed:
                    person.type(typed)
        self.people["bob"].reads("~")

    def _freeze_somebody(self) -> None:
        """A session that sshd has just ended because its client did not answer."""
        drop_in = "/etc/ssh/sshd_config.d/00-a.conf"
        self.machine.write(drop_in, "ClientAliveInterval 1\nClientAliveCountMax 1\n")
        self.machine.exec("systemctl reload ssh")
        with Person(self.machine, "alice").at_prompt() as alice:
            alice.freeze()
            self.machine.exec(
                "for i in $(seq 100); do journalctl -q -b | grep -q 'client not responding' && exit; sleep 0.3; done; exit 1"
            )
        self.machine.exec(f"rm {drop_in}; systemctl reload ssh")

    def leave(self) -> None:
        for user, person in self.people.items():
            person.leaves()
            self.machine.exec(f"pkill -9 -u {user}; true")

    # --- an inventory

    def know(self, names: t.Iterable[str]) -> None:
        """How to reach the hosts of an inventory: the page's own, and another for every further name."""
        folder = self.folder / "host_vars"
        folder.mkdir(exist_ok=True)
        for name in names:
            machine = self.machine if name == "web1" else self.others
            reach = {key: value for key, value in machine.variables.items() if key != "ansible_user"}
            (folder / f"{name}.yml").write_text(json.dumps(reach))

    def inventory(self, block: Block) -> None:
        """The file is what the next commands of the page name; hosts that it does not have come beside it."""
        path = self.folder / ("hosts.ini" if block.kind == "ini" else "hosts.yml")
        path.write_text(block.text)
        read = self.controller(f"ansible-inventory -i {path.name} --list")
        assert read.returncode == 0, read.stdout
        names = set(json.loads(read.stdout)["_meta"].get("hostvars", {})) | set(
            re.findall(r"^\w+$", block.text, re.M) if block.kind == "ini" else _hosts(yaml.safe_load(block.text))
        )
        if names:
            self.know(names)
        self.succeeds(f"ansible-playbook sessionops.policy.harden -i {path.name} -i hosts.ini --limit web1")

    # --- running

    def controller(self, command: str, cwd: pathlib.Path | None = None) -> Done:
        env = {**environment(), "ANSIBLE_COLLECTIONS_PATH": str(self.collections), "PAGER": "cat"}
        done = run(["bash", "-c", command], cwd=cwd or self.folder, env=env, timeout=200)
        done.stdout += done.stderr
        return done

    def succeeds(self, command: str) -> None:
        done = self.controller(command)
        self.said = done.stdout
        assert done.returncode == 0, f"{command}\n{done.stdout}"

    def command(self, command: str) -> None:
        """A command where its reader would type it: Ansible's and make on the controller, all else on the host."""
        word = shlex.split(command)[0].rpartition("/")[2]
        for path in (self.folder / "group_vars").glob("*"):
            path.unlink()
        if "policy.cleanup" in command:
            self._wait_until_idle()
        if word == "make":
            self._make(command)
        elif word.startswith("ansible"):
            if " audit " in f" {command} ".replace("policy.audit", " audit "):
                done = self.controller(command)
                self.said = done.stdout
                assert "of 1 host" in done.stdout or "compl" in done.stdout, done.stdout
            else:
                self.succeeds(command)
        elif command.startswith(("PYTHONPATH=", ".venv/", "tests/")):
            done = self.controller(command, CHECKOUT)
            assert done.returncode == 0, done.stdout
        else:
            done = run([*self.machine.ssh_argv("root"), f"bash -lc {shlex.quote(command)}"], timeout=60)
            self.said = done.stdout + done.stderr
            assert done.returncode == 0, f"{command}\n{self.said}"

    def _make(self, command: str) -> None:
        targets = {word for word in shlex.split(command)[1:] if "=" not in word}
        told = command.replace("INVENTORY=", f"INVENTORY={self.folder}/")
        done = self.controller(told if targets & TARGETS else f"{told} --dry-run", CHECKOUT)
        self.said = done.stdout
        # An audit fails where a host does not comply, which is for other tests.
        assert done.returncode == 0 or ("audit" in targets and "comply" in done.stdout), done.stdout

    def playbook(self, text: str, *argv: str) -> None:
        if self.people:
            self.seat()
        (self.folder / "play.yml").write_text(text)
        self.succeeds(shlex.join(["ansible-playbook", "-i", "hosts.ini", "play.yml", *argv]))

    def policy(self, text: str) -> None:
        (self.folder / "policy.yml").write_text(text)
        self.succeeds(
            "ansible-playbook sessionops.policy.harden -i hosts.ini --limit web1 -e @policy.yml"
            " -e session_policy_serial=1 --check --diff"
        )

    def _wait_until_idle(self) -> None:
        (self.folder / "group_vars").mkdir(exist_ok=True)
        (self.folder / "group_vars/all.yml").write_text(json.dumps(IMPATIENT))
        # The time of a terminal moves in steps of 8 s.
        time.sleep(max(0.0, self.seated + 30 + 9 - time.monotonic()))


def _hosts(node: t.Any) -> set[str]:
    if not isinstance(node, dict):
        return set()
    found = set(node.get("hosts") or {})
    return found.union(*(_hosts(value) for value in node.values()))
