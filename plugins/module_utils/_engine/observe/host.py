# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host is: distribution, init, and the tools that matter for sessions."""

from __future__ import annotations

import platform as python_platform
import re
import sys
from dataclasses import dataclass, field
from typing import Mapping

from ..platforms import find_platform, parse_os_release
from ..platforms.platform import Platform
from .command import Answer, Command
from .tree import Tree


@dataclass(frozen=True)
class Host:
    id: str
    id_like: list[str]
    version_id: str
    family: str
    name: str
    hostname: str
    init: str
    tmux: str | None
    screen: str | None
    utmp: bool
    python: str
    python_executable: str
    systemd_version: int | None = None
    systemd_features: list[str] = field(default_factory=list)


def find_init(tree: Tree) -> str:
    """systemd, openrc, sysvinit or unknown, by what a booted init leaves in /run (sd_booted(3), openrc-run(8))."""
    if tree.is_dir("/run/systemd/system"):
        return "systemd"
    if tree.is_dir("/run/openrc"):
        return "openrc"
    if tree.exists("/etc/inittab") and (tree.read("/proc/1/comm") or "").strip() == "init":
        return "sysvinit"
    return "unknown"


def questions(tree: Tree) -> dict[str, Command]:
    systemctl = tree.program("systemctl")
    return {"host.systemd": Command((systemctl, "--version"))} if systemctl else {}


def os_release(tree: Tree) -> Mapping[str, str]:
    return parse_os_release(tree.read("/etc/os-release") or tree.read("/usr/lib/os-release") or "")


def platform_of(release: Mapping[str, str]) -> Platform:
    return find_platform(release.get("ID", ""), release.get("ID_LIKE", "").split())


def observe_host(tree: Tree, answers: Mapping[str, Answer]) -> Host:
    release = os_release(tree)
    said = answers.get("host.systemd", Answer(None)).out
    version = re.match(r"systemd ([0-9]{1,6})", said)
    return Host(
        id=release.get("ID", ""),
        id_like=release.get("ID_LIKE", "").split(),
        version_id=release.get("VERSION_ID", ""),
        family=platform_of(release).family,
        name=release.get("PRETTY_NAME", release.get("NAME", "")),
        hostname=(tree.read("/proc/sys/kernel/hostname") or "").strip(),
        init=find_init(tree),
        tmux=tree.program("tmux"),
        screen=tree.program("screen"),
        utmp=tree.exists("/run/utmp") or tree.exists("/var/run/utmp"),
        python=python_platform.python_version(),
        python_executable=sys.executable,
        systemd_version=int(version.group(1)) if version else None,
        systemd_features=re.findall(r"(?:^|(?<= ))[+-][A-Z0-9_]+", said.partition("\n")[2]),
    )
