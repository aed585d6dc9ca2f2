# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policy_info sees on recorded hosts of every family. Adding a family is adding a file and a layout."""

from __future__ import annotations

import json
import pathlib

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine import platforms
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import Answer
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.policy import observe_policy
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree

LAYOUTS = pathlib.Path(__file__).parent / "layouts"

# family, sshd (unit, version, include, main file for scanners, socket), bashrc, zshrc, csh folder,
# logind (can stop, sees ssh ttys), pam_limits, init, reload
EXPECTED = {
    "debian11": ("debian", ("ssh", [8, 4], True, True, False), "/etc/bash.bashrc", "/etc/zsh/zshrc", "/etc/csh/cshrc.d",
                 (False, True), True, "systemd", ["systemctl", "reload", "ssh.service"]),
    "debian12": ("debian", ("ssh", [9, 2], True, True, False), "/etc/bash.bashrc", "/etc/zsh/zshrc", "/etc/csh/cshrc.d",
                 (True, True), True, "systemd", ["systemctl", "reload", "ssh.service"]),
    "debian13": ("debian", ("ssh", [10, 0], True, True, False), "/etc/bash.bashrc", "/etc/zsh/zshrc",
                 "/etc/csh/cshrc.d", (True, False), True, "systemd", ["systemctl", "reload", "ssh.service"]),
    "ubuntu2204": ("debian", ("ssh", [8, 9], True, False, False), "/etc/bash.bashrc", None, "/etc/csh/cshrc.d",
                   (False, True), True, "systemd", ["systemctl", "reload", "ssh.service"]),
    "ubuntu2404": ("debian", ("ssh", [9, 6], True, False, True), "/etc/bash.bashrc", None, "/etc/csh/cshrc.d",
                   (True, True), True, "systemd", None),
    "rhel8": ("rhel", ("sshd", [8, 0], False, True, False), "/etc/bashrc", "/etc/zshrc", "/etc/profile.d",
              (False, True), True, "systemd", ["systemctl", "reload", "sshd.service"]),
    "rhel9": ("rhel", ("sshd", [8, 7], True, False, False), "/etc/bashrc", "/etc/zshrc", "/etc/profile.d",
              (True, True), True, "systemd", ["systemctl", "reload", "sshd.service"]),
    "rhel10": ("rhel", ("sshd", [9, 9], True, False, False), "/etc/bashrc", "/etc/zshrc", "/etc/profile.d",
               (True, False), True, "systemd", ["systemctl", "reload", "sshd.service"]),
    "sles15": ("suse", ("sshd", [9, 6], True, False, False), "/etc/bash.bashrc.local", "/etc/zshrc", "/etc/profile.d",
               (True, True), True, "systemd", ["systemctl", "reload", "sshd.service"]),
    "arch": ("arch", ("sshd", [10, 2], True, False, False), "/etc/bash.bashrc", None, None,
             (True, False), True, "systemd", ["systemctl", "reload", "sshd.service"]),
    "alpine": ("alpine", (None, [10, 0], True, False, False), "/etc/bash/bashrc", None, None,
               (False, None), None, "openrc", ["rc-service", "sshd", "reload"]),
}  # fmt: skip


def recorded(layout):
    """A runner that gives the recorded answers; a shell that was not recorded cannot be run."""
    known = json.loads((layout / "answers.json").read_text())

    def run(commands):
        answers = {}
        for key, command in commands.items():
            found = known.get(key + ".again" if command.argv[0] == "unshare" else key)
            answers[key] = Answer(**found) if found else Answer(None, error="not recorded")
        return answers

    return run


def observe(name, **kwargs):
    layout = LAYOUTS / name
    return observe_policy(Tree(str(layout)), run=recorded(layout), root=True, **kwargs)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_layout(name):
    facts = observe(name)
    family, (unit, number, include, main_file, socket), bashrc, zshrc, csh_dir, logind, limits, init, reload = EXPECTED[
        name
    ]
    assert facts["host"]["family"] == family
    assert facts["host"]["init"] == init
    assert facts["multiplexer"]["locker_package"] == {"debian": "vlock", "alpine": "busybox-suid"}.get(family, "kbd")
    sshd = facts["sshd"]
    assert sshd["unit"] == unit
    assert sshd["version_number"] == number
    assert sshd["config_ok"] is True, sshd["config_error"]
    assert (sshd["include"], sshd["drop_in_first"]) == (include, include)
    assert sshd["drop_in_dir_exists"] == (name not in ("rhel8", "alpine"))
    assert sshd["scanner_main_file"] == main_file
    assert sshd["socket_activated"] == socket
    assert sshd["reload"] == ([reload] if reload else [])
    assert sshd["supports"]["channel_timeout"] == (tuple(number) >= (9, 2))
    assert facts["shell"]["files"]["bashrc"] == bashrc
    assert facts["shell"]["files"]["zsh"] == ([zshrc] if zshrc else None)
    assert facts["shell"]["files"]["csh_dir"] == csh_dir
    assert (facts["logind"]["can_stop_idle_session"], facts["logind"]["sees_ssh_ttys"]) == logind
    assert facts["limits"]["active"] is limits
    if init == "systemd":
        assert facts["logind"]["current"] is True
    else:
        assert facts["logind"]["running"] is False
    assert [w for w in facts["warnings"] if "TMOUT" not in w] == []


def test_every_layout_is_expected():
    assert sorted(p.name for p in LAYOUTS.iterdir()) == sorted(EXPECTED)


def test_every_platform_file_is_listed():
    folder = pathlib.Path(platforms.__file__).parent
    files = {p.stem for p in folder.glob("*.py")} - {"__init__", "platform"}
    listed = {p.family for p in platforms.PLATFORMS}
    missing = sorted(files - listed)
    assert not missing, (
        f"platforms/{missing[0]}.py is never shipped to a host: name it in the import and in PLATFORMS of"
        " platforms/__init__.py, and give its PLATFORM the file's name as family"
    )
    assert listed == files


def test_no_two_platforms_claim_one_id():
    claimed = [i for p in platforms.PLATFORMS for i in p.ids]
    assert sorted(claimed) == sorted(set(claimed))


@pytest.mark.parametrize(
    ("os_id", "like", "family"),
    [
        ("raspbian", ["debian"], "debian"),
        ("linuxmint", ["ubuntu", "debian"], "debian"),
        ("almalinux", ["rhel", "centos", "fedora"], "rhel"),
        ("opensuse-leap", ["suse", "opensuse"], "suse"),
        ("mydistro", ["rhel", "debian"], "rhel"),
        ("nixos", [], "unknown"),
        ("", [], "unknown"),
    ],
)
def test_relatives(os_id, like, family):
    assert platforms.find_platform(os_id, like).family == family


def test_socket_activated_without_its_runtime_folder():
    """Ubuntu 24.04: nothing keeps /run/sshd until somebody connects; sshd is asked in a namespace that has it."""
    sshd = observe("ubuntu2404")["sshd"]
    assert sshd["effective"]["clientaliveinterval"] == "0"
    assert sshd["validate"][0][:3] == ["unshare", "--mount", "sh"]
    assert sshd["validate"][0][-2:] == ["/usr/sbin/sshd", "-t"]
    assert sshd["current"] is True


def test_value_from_the_daemons_command_line():
    """RHEL 8 before 8.2 shows plain argv; what -o sets is in no file."""
    sshd = observe("rhel8")["sshd"]
    assert sshd["options"] == ["-o", "Ciphers=aes256-gcm@openssh.com", "-o", "ClientAliveInterval=30"]
    assert sshd["sources"]["clientaliveinterval"]["source"] == "command line"
    assert sshd["effective"]["clientaliveinterval"] == "30"


def test_nothing_at_all(tmp_path):
    """An empty host: every field says so, nothing raises."""
    facts = observe_policy(Tree(str(tmp_path)), users=["nobody-of-that-name"], run=lambda asked: {}, root=True)
    assert facts["host"]["family"] == "unknown"
    assert facts["sshd"]["installed"] is False
    assert facts["logind"]["running"] is False
    assert facts["limits"]["active"] is None
    assert facts["users"] == {"nobody-of-that-name": {"existing": False}}
    assert not any(facts["shell"]["shells"].values())


def test_without_login_shells_none_is_started_and_the_rest_is_the_same():
    asked = []

    def run(commands):
        asked.extend(commands)
        return recorded(LAYOUTS / "rhel9")(commands)

    brief = observe_policy(Tree(str(LAYOUTS / "rhel9")), run=run, root=True, login_shells=False)
    whole = observe("rhel9")
    assert whole["shell"]["login"] and not brief["shell"]["login"]
    assert not [question for question in asked if question.startswith("shell.")]
    assert {**brief, "shell": None, "warnings": None} == {**whole, "shell": None, "warnings": None}
