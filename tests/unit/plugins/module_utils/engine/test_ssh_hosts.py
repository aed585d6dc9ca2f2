# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host blocks of ssh_config, put to this machine's own ssh where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.ssh_hosts import host_blocks, matches
from hypothesis import given
from hypothesis import strategies as st


def test_blocks_in_order_and_what_is_in_force():
    blocks = host_blocks(
        [
            {"pattern": "*.lab !quiet.lab", "server_alive_interval": "15s", "tcp_keep_alive": False},
            {"pattern": "says-nothing", "server_alive_interval": None},
            {"pattern": "?.lab", "server_alive_count_max": 2},
        ],
        {"server_alive_interval": 60, "server_alive_count_max": 3, "tcp_keep_alive": ""},
    )
    assert [(b.pattern, b.sample) for b in blocks] == [
        ("*.lab !quiet.lab", "x.lab"), ("?.lab", "x.lab"), ("*", "any-host.invalid"),
    ]  # fmt: skip
    assert blocks[0].expected == {"ServerAliveInterval": "15", "ServerAliveCountMax": "2", "TCPKeepAlive": "no"}
    assert blocks[2].expected == {"ServerAliveInterval": "60", "ServerAliveCountMax": "3"}
    assert host_blocks([], {}) == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"pattern": 'a"b'}, "is no pattern of hosts"),
        ({"pattern": ""}, "is no pattern of hosts"),
        ({"pattern": "a\nProxyCommand x"}, "is no pattern of hosts"),
        ({"pattern": "a", "server_alive_count_max": 0}, "0 would give every server up"),
        ({"pattern": "a", "server_alive_count_max": True}, "write 1 or more"),
        ({"pattern": "a", "server_alive_interval": "often"}, "is not a duration"),
    ],
)
def test_what_is_wrong_has_a_sentence(entry, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        host_blocks([entry], {})


word = st.text("ab*?.!", min_size=1, max_size=4).filter(lambda text: text.strip("!"))


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs ssh")
@given(st.lists(word, min_size=1, max_size=3), st.text("ab.", min_size=1, max_size=4).filter(lambda t: t.strip(".")))
def test_patterns_match_as_ssh_matches_them(tmp_path_factory, words, host):
    words = [w[0] + w[1:].replace("!", "") for w in words]
    pattern = " ".join(words)
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(f"Host {pattern}\n  Port 77\n")
    said = subprocess.run(["ssh", "-T", "-G", "-F", config, host], capture_output=True, text=True, check=False)
    if said.returncode == 0:
        assert matches(pattern, host) == ("\nport 77\n" in "\n" + said.stdout)
