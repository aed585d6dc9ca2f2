# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that somebody locks himself out of, and ways to see what becomes of that."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shlex
import subprocess
import typing as t

from realhosts import RELEASES, Machine, run, until

DROP_IN = "/etc/ssh/sshd_config.d/00-session-policy.conf"
STATE = "/var/lib/session-policy"
IMAGES = {**RELEASES, "sysvinit": "bookworm-sysvinit"}


@dataclasses.dataclass(frozen=True)
class Host(Machine):
    @functools.cached_property
    def podman(self) -> list[str]:
        return [*shlex.split(self.variables["testhost_enter"]), "podman"]

    @property
    def container(self) -> str:
        return self.variables["testhost_container"]

    @property
    def systemd(self) -> bool:
        return not self.image.endswith("-sysvinit")

    @property
    def reload(self) -> list[list[str]]:
        return [["service", "ssh", "reload"]]

    @property
    def start_sshd(self) -> list[list[str]]:
        reset = [["systemctl", "reset-failed", "ssh.service"]] if self.systemd else []
        return [*reset, ["service", "ssh", "start"]]

    def tree(self, *roots: str) -> str:
        """See Machine; podman writes /etc/hosts anew at each start."""
        lines = super().tree(*(roots or ("/etc", "/root"))).splitlines(keepends=True)
        return "".join(line for line in lines if "/etc/hosts" not in line)

    def confirm(self, change: dict) -> dict:
        """Say over a new connection that `change` may stay."""
        new = {"ansible_ssh_args": "-o ControlMaster=no -o ControlPath=none"}
        return self.module("config_transaction", name="sshd", state="confirmed", id=change["id"], variables=new)

    def waiting(self) -> bool:
        """Whether a change is neither done nor taken back."""
        return bool(self.exec(f"ls {STATE}/.transactions/*/journal.json 2>/dev/null; true").stdout)

    def settled(self, limit: float) -> bool:
        return bool(until(lambda: not self.waiting(), limit, 0.3))

    def lets_in(self, user: str = "root", limit: float = 0) -> bool:
        """Whether a new login works, tried for `limit` seconds."""
        argv = [*self.ssh_argv(user, "-o", "ConnectTimeout=2"), "true"]

        def one() -> bool:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return run(argv, timeout=8).returncode == 0
            return False

        return bool(until(one, limit, 0.3))

    def left_behind(self) -> str:
        """What only a change that waits needs; without any of it the answer is empty."""
        look = (
            f"find /etc -name '*session-policy-*'; ls {STATE}/revert.pyz /etc/systemd/system/*revert* 2>/dev/null; "
            "grep -s spr0 /etc/inittab; ! test -d /run/systemd/system || "
            "systemctl list-units --all --plain --no-legend 'session-policy-revert*' | grep -v ' inactive dead '; "
            "ps -eo args= | grep '^[^ ]*python.*revert.pyz'; true"
        )
        until(lambda: not self.exec(look).stdout, 5, 0.5)
        return self.exec(look).stdout

    def reboot(self) -> None:
        run([*self.podman, "restart", "--time", "0", self.container], check=True)

    def link(self, state: str) -> None:
        self.exec(f"ip link set eth0 {state}")

    def history(self) -> list[dict]:
        return self.module("policy_info", login_shells=False)["transactions"]


def config(machine: Host, content: str, **more: t.Any) -> dict:
    """The arguments of a change of sshd's drop-in as the role makes it."""
    return {
        "name": "sshd",
        "files": [{"path": DROP_IN, "content": content}],
        "validate": [["/usr/sbin/sshd", "-t"]],
        "apply": machine.reload,
        "rescue": machine.start_sshd,
        "logins": {"users": []},
        **more,
    }


def play(machine: Host, content: str, within: int, *between: dict, **more: t.Any) -> list:
    """A play as data: the change, then what the role does to confirm it."""
    change = {
        "name": "Change",
        "sessionops.policy.config_transaction": config(machine, content, confirm_within=within, **more),
        "register": "done",
    }
    confirm = {
        "name": "Confirm",
        "ansible.builtin.include_role": {"name": "sessionops.policy.sshd_timeouts", "tasks_from": "confirm",
                                         "rolespec_validate": False},
        "vars": {"sshd_timeouts__unconfirmed": "{{ done }}"},
        "when": "done.pending",
    }  # fmt: skip
    return [{"name": "Change sshd", "hosts": "all", "gather_facts": False, "tasks": [change, *between, confirm]}]
