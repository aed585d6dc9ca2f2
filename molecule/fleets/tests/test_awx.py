# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX does, without AWX: ansible-runner with the answers of the survey, and a report that outlives its container."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
import typing as t

import pytest
import yaml
from realhosts import CHECKOUT, Done, Machine, booted, environment, inventory_of, run

SURVEY = json.loads((CHECKOUT / "extensions/awx/survey_harden.json").read_text())


@pytest.fixture(scope="module")
def host() -> t.Iterator[Machine]:
    with booted("awx-deb13", "trixie") as machine:
        yield machine


def job(playbook: str, inventory: str, answers: dict, **variables: str) -> Done:
    """A job as AWX runs it, in a home folder that is gone with it."""
    # Its name is short: a control socket of ssh lies in it.
    with tempfile.TemporaryDirectory(prefix="job-") as name:
        folder = pathlib.Path(name)
        for part in ("env", "inventory"):
            (folder / part).mkdir()
        (folder / "project").symlink_to(CHECKOUT)
        (folder / "env/extravars").write_text(json.dumps(answers))
        (folder / "inventory/hosts.json").write_text(inventory)
        env = {**environment(), "HOME": name, "SSH_AUTH_SOCK": os.devnull, **variables}
        done = run(["ansible-runner", "run", folder, "--playbook", playbook], env=env, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_defaults_of_the_survey_harden(host):
    """AWX hands the text that nobody has typed over as an empty one. The collection is the project's own."""
    answers = {question["variable"]: question["default"] for question in SURVEY["spec"]}
    assert "" in answers.values() and host.sshd_effective()["clientaliveinterval"] == "0"
    job("playbooks/harden.yml", inventory_of([host]), answers, ANSIBLE_COLLECTIONS_PATH="/nowhere")
    assert host.sshd_effective()["clientaliveinterval"] == "300"
    assert host.tmout() == "900"


def test_an_answer_of_the_survey_wins(host):
    answers = {question["variable"]: question["default"] for question in SURVEY["spec"]}
    answers |= {"session_policy_idle_timeout": "10m", "session_policy_client_alive_count_max": 2}
    job("playbooks/harden.yml", inventory_of([host]), answers, ANSIBLE_COLLECTIONS_PATH="/nowhere")
    assert host.sshd_effective()["clientalivecountmax"] == "2"
    assert host.tmout() == "600"


def test_the_report_lands_on_the_host_for_reports(host, guide):
    (block,) = guide("awx")
    inventory = yaml.safe_load(block.text)
    group = inventory["all"]["children"]["session_reports"]
    (name,) = group["hosts"]
    group["hosts"][name] = host.variables
    job("extensions/awx/report_to_host.yml", json.dumps(inventory), {})
    kept = host.exec(f"cd {group['vars']['session_policy_reports_dir']} && stat -c '%n %a %U' . *").stdout.split("\n")
    assert {". 700 root", "report.html 600 root", "sessions.json 600 root"} <= set(kept), kept
