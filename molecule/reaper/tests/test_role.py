# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role puts on a host, what it refuses, what harden says of it, and that it goes away again."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from realhosts import CHECKOUT, harden, role, until
from reaping import QUICK

ENGINE = CHECKOUT / "plugins/module_utils/_engine"


@pytest.fixture(scope="module")
def pristine(machine):
    """What was there before; the folders that the first transaction on a host makes are none of it."""
    machine.exec("systemctl daemon-reload")
    return machine.tree("/etc", "/usr/local")


@pytest.fixture(scope="module")
def installed(pristine, reaper):
    assert reaper.role(**QUICK) == 1
    return reaper.machine


def test_the_engine_there_is_the_one_here(installed):
    there = installed.exec(
        "cd /usr/local/lib/session-reaper/_engine && find . -name '*.py' -exec sha256sum {} + | sort -k2"
    ).stdout
    here = sorted(
        (f"./{path.relative_to(ENGINE)}", hashlib.sha256(path.read_bytes()).hexdigest())
        for path in ENGINE.rglob("*.py")
    )
    assert [line.split() for line in there.splitlines()] == [[digest, name] for name, digest in here]
    owned = installed.exec("find /usr/local/lib/session-reaper ! -user root -o -perm /022 | wc -l").stdout
    assert owned.strip() == "0"
    assert installed.exec("find /usr/local/lib/session-reaper -name '*.pyc' | wc -l").stdout.strip() == str(len(here))


def test_a_second_run_changes_nothing_and_what_is_not_ours_goes(installed, reaper):
    assert reaper.role(**QUICK) == 0
    installed.exec("echo x > /usr/local/lib/session-reaper/_engine/old.py")
    assert reaper.role(**QUICK) == 1
    assert installed.exec("test -e /usr/local/lib/session-reaper/_engine/old.py", check=False).returncode


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"idle_timeout": "5s"}, "idle_timeout: '5s' is too short to be measured"),
        ({"idle_timeout": "soon", "windows": ["25:00-6"]}, "windows: '25:00-6' is not HH:MM-HH:MM"),
        ({"users": {"bob": {"idle": "1h"}}}, "bob: idle can't be set for some alone"),
        ({"max_terminate": "120%"}, "max_terminate: '120%' is neither a count nor a percentage"),
    ],
)
def test_bad_values_are_refused_and_the_old_ones_stay(installed, reaper, bad, said):
    before = installed.tree("/etc/session-reaper")
    done = role([installed], "session_reaper", check=False, **{f"session_reaper_{k}": v for k, v in bad.items()})
    assert done.returncode and said in re.sub(r"\\'", "'", done.stdout), done.stdout
    assert installed.tree("/etc/session-reaper") == before
    (setting, *_rest) = bad
    installed.write("/root/bad.json", json.dumps(bad), "0600")
    checked = reaper.command("check-policy", "/root/bad.json", check=False)
    assert checked.returncode == 2 and setting in checked.stderr
    assert reaper.command("check-policy").returncode == 0


def test_a_policy_that_others_can_write_is_refused(installed, reaper):
    installed.exec("chmod 0666 /etc/session-reaper/policy.json")
    done = reaper.command("run", check=False)
    assert done.returncode == 2 and "others than root can write" in done.stderr
    assert reaper.role(**QUICK, exempt_users=["root"]) == 1
    installed.exec("chmod 0600 /etc/session-reaper/policy.json")


def test_report_ends_nobody(installed, reaper, seat):
    reaper.role(idle_timeout="30s", period="5s", warn="10s", mode="report")
    carol = seat(installed, "carol")
    assert until(lambda: reaper.deeds("would end session", "carol"), 80)
    assert carol.connected and "will be ended" not in carol.screen()
    assert len(reaper.deeds("would warn session", "carol")) == len(reaper.deeds("would end session", "carol")) == 1
    assert not reaper.deeds("ended session", "carol")


def test_the_manual_says_what_the_command_takes(installed, reaper):
    manual = installed.exec("cat /usr/local/share/man/man8/session-reaper.8").stdout.replace("\\-", "-")
    for word in re.findall(r"^  (\S+)", reaper.command("--help").stdout, re.M):
        assert word in manual
    policy = json.loads(installed.exec("cat /etc/session-reaper/policy.json").stdout)
    assert all(name in manual for name in policy)
    assert reaper.command("list", "--nonsense", check=False).returncode == 2


def test_harden_shows_the_idle_clock_as_enforced(installed):
    policy = {"session_policy_layers": ["sshd", "shell", "logind", "reaper"], "session_policy_profile": "stig",
              "session_policy_max_session_age": "2d", "session_reaper_period": "10m"}  # fmt: skip
    said = harden([installed], **policy).stdout
    assert "not enforced" not in said, said
    assert re.search(r"idle_timeout\s+600\s+600\s+session-reaper", said), said
    assert re.search(r"max_session_age\s+172800\s+172800\s+session-reaper", said), said
    assert " changed=0 " in harden([installed], **policy).stdout
    wanted = {"layers": ["reaper"], "idle_timeout": 600}
    # By other means than the files: each of these leaves them as they are.
    stop = "systemctl stop session-reaper.timer session-reaper.service"
    for damage, why in (
        (stop, "is not active"),
        (f"{stop}; rm /var/lib/session-reaper/state; systemctl start session-reaper.timer", "has not run"),
    ):
        installed.exec(damage)
        (finding,) = installed.module("policy_info", wanted=wanted)["findings"]
        assert finding["compliant"] is False and why in finding["why"], finding
    installed.exec("systemctl start session-reaper.service")
    (finding,) = installed.module("policy_info", wanted={**wanted, "reaper_engine": "0" * 64})["findings"]
    assert finding["compliant"] is False and "not this collection's" in finding["why"]
    (finding,) = installed.module("policy_info", wanted=wanted)["findings"]
    assert finding["compliant"] is True, finding


def test_absent_leaves_nothing(installed, reaper, pristine):
    assert " failed=0 " in harden([installed], session_policy_state="absent").stdout
    assert installed.tree("/etc", "/usr/local") == pristine
    assert installed.exec("ls -d /var/lib/session-reaper /run/session-policy/*.lock", check=False).stdout == ""
    assert "session-reaper" not in installed.exec("systemctl list-units --all").stdout
    assert reaper.role(state="absent") == 0
