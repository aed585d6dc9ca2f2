# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What OpenSSH clients of this host do about a silent connection.

In force is what `ssh -G` says for a host that nobody wrote a block for; where a value comes from is our own reading
of the files, as of sshd's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ..platforms.platform import Platform
from .command import Answer, Command
from .shell import NOBODY
from .sshd import parse_effective, parse_version
from .sshd_config import global_settings, origin, read_config
from .tree import Tree

KEYWORDS = ("serveraliveinterval", "serveralivecountmax", "tcpkeepalive")
# RFC 2606: a name that is nobody's, so that no block but the global ones matches it.
ANY_HOST = "any-host.invalid"


@dataclass(frozen=True)
class Client:
    """See RETURN of policy_info for what the fields mean."""

    installed: bool
    version: str | None = None
    config: str | None = None
    drop_in_dir: str | None = None
    include: bool = False
    effective: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)


def questions(tree: Tree, platform: Platform, root: bool) -> dict[str, Command]:
    """Root asks as nobody, whose home has no configuration; others must leave their own out with -F."""
    ssh = tree.program("ssh")
    if not ssh:
        return {}
    if root:
        asked = Command((ssh, "-G", ANY_HOST), ids=(NOBODY, NOBODY, ()))
    else:
        asked = Command((ssh, "-G", "-F", config_of(tree, platform), ANY_HOST))
    return {"client.G": asked, "client.version": Command((ssh, "-V"))}


def config_of(tree: Tree, platform: Platform) -> str:
    return tree.first(*platform.ssh_configs) or platform.ssh_configs[0]


def observe_client(tree: Tree, platform: Platform, answers: Mapping[str, Answer]) -> Client:
    if not tree.program("ssh"):
        return Client(installed=False)
    said = answers.get("client.G", Answer(None, error="ssh was not asked"))
    version, number = parse_version(answers.get("client.version", Answer(None)).err)
    main = config_of(tree, platform)
    config = read_config(tree, main, number, everybody=(("host", "*"), ("match", "all")))
    written = global_settings(config)
    effective = parse_effective(said.out) if said.rc == 0 else {}
    return Client(
        installed=True,
        version=version,
        config=main,
        drop_in_dir=platform.ssh_drop_in_dir,
        include=any(pattern.startswith(platform.ssh_drop_in_dir + "/") for _line, pattern in config.includes),
        effective={keyword: effective[keyword] for keyword in KEYWORDS if keyword in effective},
        error=None if effective else said.error or said.err.strip() or f"ssh -G ended with code {said.rc}",
        sources={keyword: origin(written[keyword]) for keyword in KEYWORDS if keyword in written},
    )
