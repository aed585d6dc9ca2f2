# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ssh clients, tmux and screen of a host say, from recorded answers and files."""

from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import client, multiplexer_lock
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import Answer
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.tree import Tree
from ansible_collections.sessionops.policy.plugins.module_utils._engine.platforms import debian


@pytest.fixture
def host(tmp_path):
    def make(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if "bin" in path.parts:
                path.chmod(0o755)
        return Tree(str(tmp_path))

    return make


# --- ssh ----------------------------------------------------------------------------------------------------------

SAID = {
    "client.G": Answer(0, "user x\nserveraliveinterval 30\nserveralivecountmax 3\ntcpkeepalive yes\n"),
    "client.version": Answer(0, err="OpenSSH_9.2p1 Debian"),
}


def test_first_value_of_the_blocks_for_everybody(host):
    tree = host(
        usr__bin__ssh="",
        etc__ssh__ssh_config="Include /etc/ssh/ssh_config.d/*.conf\nHost *\n  ServerAliveInterval 5m\n",
        **{"etc__ssh__ssh_config_dot_d__00-session-policy_dot_conf": "Host lab\n  ServerAliveInterval 1\n"
           "Host *\n  ServerAliveInterval 30\nMatch all\n  ServerAliveCountMax 3\n"},
    )  # fmt: skip
    seen = client.observe_client(tree, debian.PLATFORM, SAID)
    assert (seen.installed, seen.version, seen.include, seen.error) == (True, "9.2p1", True, None)
    assert seen.effective == {"serveraliveinterval": "30", "serveralivecountmax": "3", "tcpkeepalive": "yes"}
    interval = seen.sources["serveraliveinterval"]
    assert interval["source"] == "/etc/ssh/ssh_config.d/00-session-policy.conf:4" and interval["ours"]
    assert [(o["source"], o["value"]) for o in interval["overridden"]] == [("/etc/ssh/ssh_config:3", "300")]
    assert seen.sources["serveralivecountmax"]["value"] == "3"


def test_an_ssh_that_refuses_or_is_not_there(host):
    assert client.observe_client(host(), debian.PLATFORM, {}).installed is False
    tree = host(usr__bin__ssh="")
    refused = {"client.G": Answer(255, err="/etc/ssh/ssh_config: line 3: Bad configuration option: perhaps\n")}
    seen = client.observe_client(tree, debian.PLATFORM, refused)
    assert not seen.effective and "perhaps" in seen.error and not seen.include


# --- tmux ---------------------------------------------------------------------------------------------------------

OPTIONS = 'base-index 0\nlock-after-time 540\nlock-command "vlock -c"\n'
KEYS = "bind-key    -T prefix       X                    lock-session\nbind-key -r -T root C-l lock-client\n"


def test_what_tmux_shows(host):
    seen = multiplexer_lock.parse_tmux(host(usr__bin__vlock=""), Answer(0, OPTIONS + KEYS))
    assert seen == {
        "lock_after_time": 540, "lock_command": "vlock -c", "lock_command_exists": True,
        "lock_keys": ["prefix X", "root C-l"], "complaint": None, "error": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "field", "words"),
    [
        (Answer(1, OPTIONS, "/etc/tmux.conf:3: syntax error\n"), "complaint", "/etc/tmux.conf:3: syntax error"),
        (Answer(None, error="it did not answer in time and was stopped"), "error", "did not answer in time"),
        (Answer(1, "", "unshare: unshare failed: Operation not permitted\n"), "error", "not permitted"),
        (Answer(1), "error", "it ended with code 1"),
    ],
)
def test_a_tmux_that_complains_or_does_not_answer(host, answer, field, words):
    assert words in multiplexer_lock.parse_tmux(host(), answer)[field]


def test_the_last_line_that_sets_an_option_globally_holds(host):
    tree = host(etc__tmux_dot_conf="set -g lock-after-time 1\nset lock-after-time 2\n# set -g lock-after-time 3\n"
                "# BEGIN sessionops.policy multiplexer\n set-option -g -q lock-after-time '4'\n"
                "# END sessionops.policy multiplexer\nset -sg lock-command \"a b\"\n")  # fmt: skip
    assert multiplexer_lock.tmux_sources(tree) == {
        "lock-after-time": {"source": "/etc/tmux.conf:5", "value": "4", "ours": True},
        "lock-command": {"source": "/etc/tmux.conf:7", "value": "a b", "ours": False},
    }


# --- screen, passwords --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "idle", "line"),
    [
        ("", None, None),
        ("idle 540 lockscreen\n", 540, 1),
        ("idle 540 lockscreen # so\nidle 9 clear\n", None, 2),
        ("idle 540 lockscreen\n idle 60\n", 60, 2),
        ("idle 540 lockscreen\nidle off\n", None, 2),
        ("# idle 540 lockscreen\n", None, None),
        ("idle 0 lockscreen\n", None, 1),
    ],
)
def test_when_screen_locks(host, text, idle, line):
    seen = multiplexer_lock.read_screenrc(host(etc__screenrc=text))
    assert (seen["idle"], seen["source"]) == (idle, line and f"/etc/screenrc:{line}")


def test_people_who_can_never_unlock(host):
    passwd = "root:x:0:0::/:/bin/sh\nkeys:x:1000:1000::/:/bin/sh\nword:x:1001:1001::/:/bin/sh\n"
    passwd += "daemon:x:2:2::/:/bin/sh\nno:x:1002:1002::/:/usr/sbin/nologin\nlocked:x:1003:1003::/:/bin/zsh\n"
    shadow = "root:*:1\nkeys:!:1\nword:$y$abc:1\ndaemon:*:1\nno:!:1\nlocked:!$y$abc:1\n"
    assert multiplexer_lock.without_password(host(etc__passwd=passwd, etc__shadow=shadow)) == ["keys", "locked"]
