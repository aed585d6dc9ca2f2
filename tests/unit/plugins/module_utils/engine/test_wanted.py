# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy to judge is checked before anything is looked at."""

from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.wanted import parse_wanted


def test_types():
    parsed = parse_wanted(
        {
            "layers": ["sshd"],
            "idle_timeout": "15m",
            "client_alive_interval": "300",
            "client_alive_count_max": "3",
            "max_sessions": 10,
            "tcp_keep_alive": "no",
            "kill_user_processes": True,
            "max_startups": 10,
            "exempt_users": [],
            "channel_idle_timeout": None,
            "login_grace_time": "",
            "profile": "cis",
        }
    )
    assert parsed == {
        "layers": ["sshd"],
        "idle_timeout": 900,
        "client_alive_interval": 300,
        "client_alive_count_max": 3,
        "max_sessions": 10,
        "tcp_keep_alive": False,
        "kill_user_processes": True,
        "max_startups": "10:30:10",
        "exempt_users": [],
        "profile": "cis",
    }


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"idle_timeout": "soon"}, "wanted.idle_timeout: 'soon' is not a duration"),
        ({"idle_timeout": -1}, "wanted.idle_timeout: -1 is not a duration"),
        ({"client_alive_intervall": 3}, "wanted.client_alive_intervall is no setting of a policy"),
        ({"max_sessions": "many"}, "wanted.max_sessions: 'many' is not a count"),
        ({"max_sessions": True}, "True is not a count"),
        ({"tcp_keep_alive": "perhaps"}, "neither true nor false"),
        ({"exempt_users": "alice"}, "'alice' is not a list of names"),
        ({"layers": [1]}, "not a list of names"),
        ({"max_startups": "10:30"}, "START:RATE:FULL"),
        ({"rules": {"max_sessions": "5.1.17"}}, "by benchmark"),
    ],
)
def test_wrong_values_are_named(wanted, words):
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        parse_wanted(wanted)
