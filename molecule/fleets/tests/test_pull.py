# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-pull: a host that hardens itself from a git repository, as the guide says."""

from __future__ import annotations

import pathlib
import re
import subprocess
import tempfile
import typing as t

import pytest
from blocks import Block
from known_files import pack_known_files
from realhosts import CHECKOUT, Machine, booted, run

FILES = CHECKOUT / "extensions/pull"
SERVICE = "session-policy-pull.service"
# What the file says that the guide installs.
FROM = dict(re.findall(r"^(\w+)=(.*)$", (FILES / "session-policy-pull.conf").read_text(), re.M))


def bare_repository() -> bytes:
    """This checkout as it lies here, as a bare repository with the tag of the release, packed."""
    with tempfile.TemporaryDirectory(prefix="pull-") as folder:
        work, git = pathlib.Path(folder, "work"), ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
        work.mkdir()
        subprocess.run(["tar", "-C", work, "-xf", "-"], input=pack_known_files(), check=True)
        run([*git, "-C", work, "init", "--quiet"], check=True)
        run([*git, "-C", work, "add", "--all", "--force"], check=True)
        run([*git, "-C", work, "commit", "--quiet", "--message", "The collection"], check=True)
        run([*git, "-C", work, "tag", FROM["VERSION"]], check=True)
        run([*git, "clone", "--quiet", "--bare", work, f"{folder}/policy.git"], check=True)
        return subprocess.run(
            ["tar", "-C", folder, "-cf", "-", "policy.git"], check=True, stdout=subprocess.PIPE
        ).stdout


@pytest.fixture(scope="module")
def host() -> t.Iterator[Machine]:
    """A Debian 13 for which the repository's public address leads to a copy on itself."""
    with booted("pull-deb13", "trixie") as machine:
        machine.exec("mkdir -p /srv/git && tar -xC /srv/git --no-same-owner", input=bare_repository(), text=False)
        machine.write("/etc/gitconfig", f'[url "file:///srv/git/policy.git"]\n    insteadOf = {FROM["REPOSITORY"]}\n')
        yield machine


def types(host: Machine, block: Block) -> str:
    """What the commands of a block say."""
    return "".join(host.exec(command, timeout=200).stdout for command, _shown in block.commands)


def pull(host: Machine, check: bool = True) -> str:
    """What the service says when its timer starts it."""
    done = host.exec(f"systemctl start {SERVICE}", check=False)
    said = host.exec(f"journalctl -q -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {SERVICE})").stdout
    assert not check or done.returncode == 0, said
    return said


def cron_line(host: Machine) -> str:
    """Run the line's command as cron does, and give what it logged."""
    lines = host.exec("cat /etc/cron.d/session-policy-pull").stdout.splitlines()
    (line,) = (line for line in lines if re.match(r"[\d*]", line))
    fields = line.split(None, 6)
    assert fields[5] == "root" and all(re.fullmatch(r"\d+|\*", field) for field in fields[:5])
    variables = " ".join(f"{name}={value}" for name, value in re.findall(r"^(\w+)=(.*)$", "\n".join(lines), re.M))
    host.write("/root/cron.sh", fields[6] + "\n")
    host.exec(f"cd /root && env -i HOME=/root {variables} /bin/sh cron.sh")
    return host.exec("journalctl -q -o cat -t session-policy-pull").stdout


def test_the_guide_installs_it(host, guide):
    for block in guide("pull"):
        if block.language == "console":
            types(host, block)
        elif block.language == "yaml":
            host.write("/etc/session-policy.yml", block.text)
        else:
            assert dict(re.findall(r"^(\w+)=(.*)$", block.text, re.M)) == FROM


def test_the_guide_s_first_run_hardens_the_host(host, guide):
    assert host.sshd_effective()["clientaliveinterval"] == "0"
    (block,) = guide("pull")
    said = types(host, block)
    assert re.search(r"localhost +: ok=\d+ +changed=[1-9]", said), said
    assert host.sshd_effective()["clientaliveinterval"] == "240"
    assert host.tmout() == "600"


def test_the_next_run_finds_nothing_to_do(host):
    assert re.search(r"localhost +: ok=\d+ +changed=0 ", pull(host))


def test_the_timer_runs_it(host):
    timers = host.exec("systemctl list-timers --all --no-legend session-policy-pull.timer").stdout
    assert SERVICE in timers
    assert host.exec(f"systemd-analyze verify /etc/systemd/system/{SERVICE}", check=False).stderr == ""


def test_a_policy_that_contradicts_itself_changes_nothing(host):
    policy = host.exec("cat /etc/session-policy.yml").stdout
    host.write("/etc/session-policy.yml", policy + "session_policy_client_alive_count_max: 0\n")
    before = host.tree("/etc/ssh", "/etc/profile.d")
    said = pull(host, check=False)
    assert "ClientAliveCountMax" in said or "client_alive_count_max" in said
    assert host.exec(f"systemctl is-failed {SERVICE}", check=False).stdout.strip() == "failed"
    assert host.tree("/etc/ssh", "/etc/profile.d") == before
    host.write("/etc/session-policy.yml", policy)
    pull(host)


def test_cron_does_the_same(host, guide):
    (block,) = guide("pull")
    types(host, block)
    host.exec("rm /etc/ssh/sshd_config.d/00-session-policy.conf && systemctl reload ssh")
    said = cron_line(host)
    assert re.search(r"localhost +: ok=\d+ +changed=[1-9]", said), said
    assert host.sshd_effective()["clientaliveinterval"] == "240"


def test_who_pulls_by_hand_keeps_the_own_session(host, person):
    """The connection is local, so what protects is who the play's process descends from."""
    root, alice = person(host, "root"), person(host, "alice")
    values = (
        '\'{"session_policy_max_session_age": 1, "session_policy_cleanup": {"min_age": "1s", "warn_grace": "1s"}}\''
    )
    root.type(
        f"ansible-pull --url {FROM['REPOSITORY']} --checkout {FROM['VERSION']} -e {values} playbooks/cleanup.yml | grep -e USER -e terminal; echo done"
    )
    root.reads("^done", 60)
    assert alice.leaves_within(20), root.screen()
    assert root.connected and re.search(r"root +terminal .*skipped +self", root.screen()), root.screen()


def test_the_guide_takes_it_away(host, guide):
    (block,) = guide("pull")
    types(host, block)
    assert host.sshd_effective()["clientaliveinterval"] == "0"
    assert host.exec("ls /etc/systemd/system /etc | grep session-policy-pull", check=False).stdout == ""
