# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/cleanup.yml on all releases at once: the policy applied to the sessions that are there."""

from __future__ import annotations

import re
import shlex
import time

import pytest
from endings import DEAF
from realhosts import CHECKOUT, playbook

POLICY = {
    "session_policy_profile": "none",
    "session_policy_idle_timeout": "30s",
    "session_policy_exempt_users": ["carol", "dave", "erin"],
    "session_policy_cleanup": {"min_age": 0, "warn_grace": "2s", "reason": "night shift"},
}


def cleanup(fleet, *argv, check=True, **policy):
    return playbook(fleet, CHECKOUT / "playbooks/cleanup.yml", *argv, check=check, **{**POLICY, **policy})


@pytest.fixture(scope="module")
def night(fleet, seat):
    """The same people on each host; the plan, the run, and the run after it."""
    people = {user: [seat(host, user) for host in fleet] for user in ("alice", "bob", "carol", "dave", "erin")}
    for bob in people["bob"]:
        bob.type("vim notes.txt")
        bob.reads("~")
    for dave in people["dave"]:
        dave.type(f"exec bash -c {shlex.quote(DEAF)}")
        dave.reads("^deaf")
    time.sleep(30 + 9)  # atime moves in steps of 8 s
    plan = cleanup(fleet, "--check", "--diff")
    there = [alice.connected for alice in people["alice"]]
    return {"people": people, "plan": plan, "there": there, "done": cleanup(fleet), "again": cleanup(fleet)}


def test_check_shows_the_plan_and_touches_nobody(night, fleet):
    assert night["there"] == [True] * len(fleet)
    assert len(re.findall(r"alice +terminal .* would terminate +idle", night["plan"].stdout)) == len(fleet)
    assert "-alice terminal" in night["plan"].stdout, "the diff"


def test_the_idle_are_ended_and_the_rest_is_left(night, fleet):
    said = night["done"].stdout
    assert len(re.findall(r"alice +terminal .* terminated +idle", said)) == len(fleet), said
    assert len(re.findall(r"bob +terminal .* skipped +editors", said)) == len(fleet), said
    assert len(re.findall(r"carol +terminal .* skipped +excluded", said)) == len(fleet), said
    assert all(alice.leaves_within(10) for alice in night["people"]["alice"])
    assert all(one.connected for user in ("bob", "carol", "dave", "erin") for one in night["people"][user])


def test_the_table_fits_a_terminal(night, fleet):
    rows = [line for line in night["done"].stdout.splitlines() if line.startswith("        ")]
    assert len(rows) >= 6 * len(fleet) and max(map(len, rows)) <= 80


def test_a_second_run_changes_nothing(night, fleet):
    assert night["again"].stdout.count("changed=0") == len(fleet)


def test_it_ends_an_old_session_however_busy(night, fleet):
    erins = night["people"]["erin"]
    for erin in erins:
        erin.type("echo at work")
    policy = {
        "session_policy_idle_timeout": "none",
        "session_policy_max_session_age": "30s",
        "session_policy_exempt_users": ["carol", "dave"],
        "session_policy_cleanup": {"min_age": 0, "warn_grace": 0},
    }
    said = cleanup(fleet, **policy, session_policy_serial=1).stdout
    assert len(re.findall(r"erin +terminal .* terminated +age", said)) == len(fleet), said
    assert all(erin.leaves_within(10) for erin in erins)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"session_policy_idle_timeout": "soon"}, "session_policy_idle_timeout: 'soon' is not a duration"),
        ({"session_policy_idle_timeout": "none"}, "no session is stale"),
        ({"session_policy_protect": ["vim"]}, "there is no work 'vim'"),
        ({"session_policy_cleanup": {"max_terminate": "lots"}}, "'lots' is neither a count nor a percentage"),
    ],
)
def test_bad_input_touches_nothing(fleet, policy, sentence):
    done = cleanup(fleet, **policy, check=False)
    assert done.returncode != 0 and sentence in re.sub(r"\s+", " ", done.stdout).replace("\\'", "'"), done.stdout


def test_what_does_not_end_makes_it_fail_and_the_table_is_shown_all_the_same(night, fleet):
    host = fleet[-1]
    policy = {"session_policy_exempt_users": ["carol"], "session_policy_cleanup": {"min_age": 0, "warn_grace": 0}}
    done = cleanup([host], **policy, check=False)
    assert done.returncode != 0 and re.search(r"dave +terminal .* failed +idle", done.stdout), done.stdout
    assert re.search(r"bash \(pid \d+\) stays: did not end", done.stdout)
    host.exec("pkill -9 -u dave -x bash")


def test_by_its_name(fleet):
    said = playbook(fleet, "sessionops.policy.cleanup", session_policy_idle_timeout="1d").stdout
    assert said.count("No session is stale.") == len(fleet)
