# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of a reader, and real hosts that the page has for itself: its examples are run there in their order."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shlex
import time
import typing as t
import warnings

import yaml
from blocks import Block, missing
from realhosts import CHECKOUT, Done, Machine, Person, booted, cut_off, environment, run, until

#: Hosts are Debian 13, as most pages say, but for these pages, and for the second host of an inventory.
ON = {
    "howto_harden_fleet.rst": "bookworm",
    "howto_pass_audit.rst": "bookworm",
    "howto_rollback.rst": "bullseye",
    "howto_stuck_session.rst": "bookworm",
}
FURTHER = "bullseye"
#: Pages that are read in a checkout, with what `make` installs in it.
IN_CHECKOUT = {"README.md", "CONTRIBUTING.md"}
#: What the readers of these pages have before the first block, beside hosts.
HAVE_REAPER = {"README.md", "reference.rst", "troubleshooting.rst"}
HAVE_POLICY = {"howto_rollback.rst", "howto_single_modules.rst", "howto_stuck_session.rst"}
HAVE_PEOPLE = {"README.md", "howto_stuck_session.rst"}
#: Pages that audit by another policy than they have hardened by; on all others an audit has to pass.
MAY_FAIL = {"README.md"}
#: Targets of make of which only the plan is looked at, and why.
PLANNED = {
    **dict.fromkeys(("test", "test-fast", "scenario", "browser", "docs"), "make test, which runs this test, runs it"),
    **dict.fromkeys(("benchmark", "benchmark-fleet", "matrix"), "it takes an hour"),
    "execution-environment": "the base of its image comes from a registry; the units make its context",
    "pictures": "somebody has to look at them",
}
#: With these, people who have just sat down are as idle as those in the examples, who were away for an hour.
IMPATIENT = {
    "session_policy_idle_timeout": "30s",
    "session_policy_cleanup": {"min_age": 0, "warn_grace": "1s"},
}
#: What people are at: alice waits at her prompt.
DOING = {"alice": "", "bob": "vim notes.txt", "carol": "sleep 600 &"}


class Effect(t.NamedTuple):
    after: t.Callable[[Stage], object]
    #: What bob has run before.
    before: str = ""


def no_more(user: str, program: str) -> t.Callable[[Stage], bool]:
    return lambda stage: not stage.machine.exec(f"pgrep -u {user} {program}", check=False).stdout


#: The line of tmux at the bottom of a terminal.
TMUX = r"^\[[\w-]+\] *0:"
#: Plays that have to do something, by their names.
EFFECTS = {
    "End all that hangs at alice's": Effect(no_more("alice", "bash")),
    "End every session of an account, but let transfers finish": Effect(no_more("bob", "bash")),
    "Take what the account left running": Effect(
        no_more("bob", "sleep"), "nohup sleep 4711 >/dev/null 2>&1 </dev/null & sleep 0.5"
    ),
    "Begin logins in tmux": Effect(lambda stage: stage.enter_context(Person(stage.machine, "alice")).reads(TMUX)),
    "Have the clients say something before a firewall forgets them": Effect(
        lambda stage: "REGEDIT4" in (stage.folder / "keepalive.reg").read_text()
    ),
    "Forbid agent forwarding, or leave all as it is": Effect(
        lambda stage: stage.machine.sshd_effective()["allowagentforwarding"] == "no"
    ),
}


def seen(done: str) -> t.Iterator[dict[str, int]]:
    """The counts of each host in the recap of a run of Ansible."""
    for line in re.findall(r"^\S+ +: (ok=.*)$", done, re.M):
        yield {key: int(count) for key, count in re.findall(r"(\w+)=(\d+)", line)}


class Stage(contextlib.ExitStack):
    def __init__(self, page: str, folder: pathlib.Path, artifact: pathlib.Path):
        super().__init__()
        self.name = pathlib.Path(page).name
        self.slug = re.sub(r"\W+", "-", pathlib.Path(page).stem).lower()
        self.folder = folder / "reader"
        self.artifact = artifact
        self.machines: dict[str, Machine] = {}
        self.people: dict[str, Person] = {}
        self.seated = 0.0
        self._policy = ""
        self.said = ""

    def __enter__(self) -> Stage:
        super().__enter__()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        return self

    # --- what a reader has before the first line of the page

    def _prepare(self) -> None:
        self.folder.mkdir()
        if self.name in IN_CHECKOUT:
            self._check_out()
        (self.folder / self.artifact.name).write_bytes(self.artifact.read_bytes())
        if self.name == "CONTRIBUTING.md":
            return
        if self.name not in {"README.md", "getting_started.rst"}:
            self.succeeds(f"ansible-galaxy collection install --offline {self.artifact.name}")
        (self.folder / "hosts.ini").write_text("web1\n")
        self._know(["web1"])
        if self.name in HAVE_REAPER:
            self.machine.role("session_reaper", session_reaper_mode="report")
        if self.name in HAVE_POLICY:
            self.bare = self.machine.tree()
            self.machine.harden()
        if self.name in HAVE_PEOPLE:
            for user in DOING:
                self._seat(user)

    def _check_out(self) -> None:
        """A copy, so that nothing is written here; its environment is ours."""
        argv = ["git", "clone", "--quiet", "--no-hardlinks", CHECKOUT, self.folder]
        run(argv, check=True)
        (self.folder / ".venv").symlink_to(CHECKOUT / ".venv")
        for path in self.folder.glob("requirements*.txt"):
            os.utime(path, (0, 0))  # what make installs is newer
        self.callback(run, [self.folder / "tests/hosts/testhost", "down"])

    @property
    def machine(self) -> Machine:
        return self.machines["web1"]

    def _know(self, names: t.Iterable[str]) -> None:
        """Boot the hosts of an inventory, and let ssh know the way to them."""
        (self.folder / "host_vars").mkdir(exist_ok=True)
        for name in sorted(set(names) - set(self.machines)):
            image = FURTHER if self.machines else ON.get(self.name, "trixie")
            machine = self.enter_context(booted(f"{self.slug}-{name}", image))
            self.machines[name] = machine
            reach = {key: value for key, value in machine.variables.items() if key != "ansible_user"}
            (self.folder / f"host_vars/{name}.yml").write_text(json.dumps(reach))

    def _seat(self, user: str) -> None:
        person = self.people[user] = self.enter_context(Person(self.machine, user)).at_prompt()
        if DOING[user]:
            person.type(DOING[user])
        if user == "bob":
            person.reads("~")
        self.seated = time.monotonic()

    # --- blocks

    def play(self, block: Block) -> None:
        """Run a block, or hold what it shows against what was said.

        Raises:
            AssertionError: a reader would not get what the page promises.
        """
        kind = block.kind
        if kind == "console":
            for command, shown in block.commands:
                self.command(command)
                assert missing(shown, self.said) == [], self.said
        elif kind == "output":
            assert self.said and missing(block.text, self.said) == [], self.said
        elif kind in ("inventory", "ini"):
            self.inventory(block)
        elif kind == "policy":
            self.policy(block.text)
        elif kind == "playbook":
            self.playbook(block.text)
        elif kind == "tasks":
            play = {"name": "Example", "hosts": "all", "gather_facts": False, "become": True}
            self.playbook(yaml.safe_dump([{**play, "tasks": yaml.safe_load(block.text)}]))
        elif kind == "waivers":
            (self.folder / "waivers.yml").write_text(block.text)
            self._ansible(
                "ansible-playbook sessionops.policy.audit -i hosts.ini -e session_policy_waivers=$PWD/waivers.yml", True
            )

    def inventory(self, block: Block) -> None:
        """The file is what the next commands of the page name."""
        path = self.folder / ("hosts.ini" if block.kind == "ini" else "hosts.yml")
        path.write_text(block.text)
        self.succeeds(f"ansible-inventory -i {path.name} --list")
        listed = json.loads(self.said)
        names = {name for group in listed.values() for name in group.get("hosts", [])}
        assert names, block.text
        self._know(names)

    def playbook(self, text: str) -> None:
        for user, person in self.people.items():
            if not person.connected:
                self._seat(user)
        (self.folder / "play.yml").write_text(text)
        effect = EFFECTS.get(yaml.safe_load(text)[0]["name"])
        if effect and effect.before:
            self.machine.ssh(effect.before, "bob")
        self.succeeds("ansible-playbook -i hosts.ini play.yml")
        if effect:
            assert until(lambda: effect.after(self), 20), self.said

    def policy(self, text: str) -> None:
        """The values go to those that the inventory has, as they would with a reader, and are put in force."""
        self._of_all("policy").write_text(self._policy + text)
        self._policy += text
        inventory = next(name for name in ("hosts.yml", "hosts.ini") if (self.folder / name).exists())
        self.succeeds(f"ansible-playbook sessionops.policy.harden -i {inventory}")

    def _of_all(self, name: str) -> pathlib.Path:
        """A file of variables of all hosts."""
        folder = self.folder / "group_vars/all"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.yml"

    # --- commands

    def controller(self, command: str) -> Done:
        path = {"ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"), "PAGER": "cat"}
        done = run(["bash", "-c", command], cwd=self.folder, env={**environment(), **path}, timeout=200)
        done.stdout += done.stderr
        return done

    def succeeds(self, command: str) -> None:
        done = self.controller(command)
        self.said = done.stdout
        assert done.returncode == 0, f"{command}\n{self.said}"

    def command(self, command: str) -> None:
        """A command where its reader would type it: what belongs to the checkout or to Ansible on the controller, all
        else on the host."""
        word = shlex.split(command)[0]
        if word == "make":
            self._make(command)
        elif word.startswith(("ansible", ".venv/", "tests/", "PYTHONPATH=")):
            self._ansible(command)
        elif command.startswith("systemd-run --user"):
            self._at_a_terminal(command)
        else:
            if command.endswith("session-reaper why alice"):
                cut_off(self.machine, "alice")
            user = "admin" if word == "sudo" else "root"
            done = run([*self.machine.ssh_argv(user), f"bash -lc {shlex.quote(command)}"], timeout=60)
            self.said = done.stdout + done.stderr
            assert done.returncode == 0, f"{command}\n{self.said}"

    def _make(self, command: str) -> None:
        targets = {word for word in shlex.split(command)[1:] if "=" not in word}
        for target in targets & set(PLANNED):
            warnings.warn(f"{self.name}: {command!r} is only planned: {PLANNED[target]}", stacklevel=1)
            command += " --dry-run"
        self._ansible(command)

    def _ansible(self, command: str, may_fail: bool = False) -> None:
        output = self.folder / (re.search(r"session_policy_output=(\S+)|$", command)[1] or "session-report")
        form = re.search(r"^make (audit|report)\b|sessionops\.policy\.(audit|report) -", command)
        before = {path: path.stat().st_mtime_ns for path in output.glob("*")}
        with self._after_a_while() if "policy.cleanup" in command else contextlib.nullcontext():
            done = self.controller(command)
        self.said = done.stdout
        verdict = re.search(r"(\d+) of (\d+) hosts comply", self.said)
        if form and "audit" in form.groups() and verdict and verdict[1] != verdict[2]:
            # As it should unless all comply; but every host was judged, and what the page has hardened complies.
            assert done.returncode == 2 and not any(host["unreachable"] for host in seen(self.said)), self.said
            assert may_fail or self.name in MAY_FAIL, self.said
        else:
            assert done.returncode == 0, f"{command}\n{self.said}"
        if command == "ansible-playbook sessionops.policy.rollback -i hosts.ini":
            assert self.machine.tree() == self.bare
        if form:
            written = {path.suffix for path in output.glob("*") if before.get(path) != path.stat().st_mtime_ns}
            assert written >= ({".html", ".json", ".csv"} if "report" in form.groups() else {".json", ".csv", ".xml"})

    @contextlib.contextmanager
    def _after_a_while(self) -> t.Iterator[None]:
        """Everybody has been idle for longer than the policy allows."""
        self._of_all("impatient").write_text(json.dumps(IMPATIENT))
        # The time of a terminal moves in steps of 8 s.
        time.sleep(max(0.0, self.seated + 30 + 9 - time.monotonic()))
        yield
        self._of_all("impatient").unlink()

    def _at_a_terminal(self, command: str) -> None:
        """What takes the terminal, typed by somebody who lingers; it has to outlive the end of the session."""
        if self.name == "README.md":
            self.machine.role("multiplexer_lock", multiplexer_lock_linger_users=["alice"])
        alice = self.enter_context(Person(self.machine, "alice")).at_prompt()
        alice.type(command)
        alice.reads(TMUX)
        hers = 'loginctl list-sessions --no-legend | awk \'$3 == "alice" && $6 == "user" {print $1}\''
        self.machine.exec(f"for s in $({hers}); do loginctl terminate-session $s; done")
        assert alice.leaves_within(20)
        assert self.machine.exec("pgrep -u alice -x 'tmux: server'").stdout
