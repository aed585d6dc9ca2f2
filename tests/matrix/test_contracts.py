# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every pair of ansible-core and managed Python owes: each module and playbook does for real what it documents.

The hosts are those of the inventory that MATRIX_INVENTORY names; `matrix.py` boots them and calls this with each
ansible-core. Hosts are only reached over ssh, so this runs on a controller that is itself a test host, too.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import platform
import re
import typing as t

import pytest
from ansible.release import __version__ as ansible_core
from ansible_test._util.target.common.constants import CONTROLLER_PYTHON_VERSIONS, REMOTE_ONLY_PYTHON_VERSIONS
from realhosts import CHECKOUT, Machine, Person, environment, playbook, run

INVENTORY = os.environ.get("MATRIX_INVENTORY")
DROP_IN = "/etc/ssh/sshd_config.d/00-matrix.conf"
TREE = "find /etc -type f -exec sha256sum {} + | sort"
LEFT_LOCK = "/run/lock/LCK..ttyS7"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    found = json.loads(pathlib.Path(INVENTORY).read_text())["all"]["hosts"] if INVENTORY else {}
    machines = [Machine(name, variables["testhost_image"], variables) for name, variables in found.items()]
    # What shares a host runs in one worker of pytest-xdist.
    marked = [
        pytest.param(machine, id=machine.name, marks=pytest.mark.xdist_group(machine.name)) for machine in machines
    ]
    if "host" in metafunc.fixturenames:
        metafunc.parametrize("host", marked)


@functools.cache
def documented() -> dict[str, dict]:
    """What each module says it returns."""
    names = [f"sessionops.policy.{path.stem}" for path in (CHECKOUT / "plugins/modules").glob("*.py")]
    said = run(["ansible-doc", "--json", "--type", "module", *names], env=environment())
    assert said.returncode == 0, said.stderr
    return {name.rpartition(".")[2]: entry["return"] for name, entry in json.loads(said.stdout).items()}


def missing(promised: dict, got: dict, where: str = "") -> t.Iterator[str]:
    """The names of what should always be there and is not."""
    for name, entry in promised.items():
        if entry.get("returned", "sometimes") in ("always", "success") and name not in got:
            yield where + name
        inner = got.get(name)
        for one in inner if isinstance(inner, list) else [inner]:
            if entry.get("contains") and isinstance(one, dict):
                yield from missing(entry["contains"], one, f"{where}{name}.")


def ran(host: Machine, module: str, /, **kw: t.Any) -> dict:
    """What the module returned, once it kept its promises."""
    done = host.module(module, **kw)
    assert not done["failed"], done
    assert not list(missing(documented()[module], done)), done
    assert not done.get("deprecations"), done["deprecations"]
    return done


def thrice(host: Machine, module: str, /, **kw: t.Any) -> tuple[dict, dict, dict]:
    """The plan in check mode, the deed, and the second deed, which finds nothing to do."""
    planned, done, again = (ran(host, module, check=check, diff=True, **kw) for check in (True, False, False))
    assert [one["changed"] for one in (planned, done, again)] == [True, True, False], (planned, done, again)
    return planned, done, again


@pytest.mark.parametrize(
    "name, args",
    [
        ("policy_info", {"profile": "stig"}),
        ("session_info", {"gather_subset": ["sessions", "leftovers", "limits"]}),
        ("session_history_info", {"since": "7d"}),
    ],
)
def test_modules_that_look(host, name, args):
    for check in (True, False):
        assert not ran(host, name, check=check, **args)["changed"]


def test_config_transaction(host):
    file = {"path": DROP_IN, "content": "LoginGraceTime 77\n"}
    sshd = {"name": "matrix", "validate": [["/usr/sbin/sshd", "-t"]], "apply": [["systemctl", "reload", "ssh"]]}
    planned, done, _again = thrice(host, "config_transaction", files=[file], **sshd)
    assert planned["diff"] == done["diff"]
    assert "logingracetime 77" in host.ssh("sshd -T")
    thrice(host, "config_transaction", files=[{"path": DROP_IN, "state": "absent"}], **sshd)
    refused = host.module("config_transaction", files=[{**file, "content": "LoginGraceTimee 1\n"}], **sshd)
    assert refused["failed"]
    assert "LoginGraceTimee" in refused["msg"]


def test_putty_session(host):
    _planned, done, _again = thrice(host, "putty_session", user="alice", keepalive="1m30s")
    assert "PingIntervalSecs=30" in host.ssh(f"cat {done['file']}")
    thrice(host, "putty_session", user="alice", keepalive="0", state="absent")


def test_session_terminate(host):
    with Person(host, "carol") as carol:
        carol.at_prompt()
        planned, done, _again = thrice(
            host, "session_terminate", users=["carol"], min_age="0s", warn_grace="1s", reason="matrix"
        )
        assert [one["outcome"] for one in planned["sessions"] + done["sessions"]] == ["would_terminate", "terminated"]
        assert carol.leaves_within(10)


def test_leftover_remove(host):
    host.ssh(f"su alice -c 'sleep 0 & echo $!' > {LEFT_LOCK}; chown alice {LEFT_LOCK}")
    planned, done, _again = thrice(host, "leftover_remove", kinds=["stale_lock"], users=["alice"], older_than="0")
    assert [one["outcome"] for one in planned["leftovers"] + done["leftovers"]] == ["would_remove", "removed"]
    assert not host.ssh(f"ls {LEFT_LOCK}", check=False)


def test_session_report(host, tmp_path):
    given = {"form": "audit", "policy_info": "nothing_registered", "output": str(tmp_path)}
    ran(host, "session_report", check=True, **given)
    assert not list(tmp_path.iterdir())
    ran(host, "session_report", **given)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "audit.json",
        "audit.csv",
        "audit.junit.xml",
        "audit.oscal.json",
    }


@pytest.mark.parametrize("path", sorted((CHECKOUT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_syntax_of_playbooks(path):
    for name in (str(path), f"sessionops.policy.{path.stem}"):
        said = run(["ansible-playbook", "-i", "localhost,", "--syntax-check", name], env=environment())
        assert said.returncode == 0, said.stdout + said.stderr
        assert "DEPRECATION" not in said.stderr


def counts(done: t.Any) -> dict[str, int]:
    return {name: int(count) for name, count in re.findall(r"\b(changed|failed)=(\d+)", done.stdout)}


def test_the_umbrella_there_and_back(host, tmp_path):
    """harden (first only looking), audit, report, cleanup (only looking), rollback."""
    policy = {"session_policy_profile": "stig", "session_policy_layers": ["sshd", "shell", "logind", "reaper"]}

    def play(name: str, *argv: str, **more: t.Any) -> t.Any:
        done = playbook([host], CHECKOUT / f"playbooks/{name}.yml", *argv, **policy, **more)
        assert "DEPRECATION" not in done.stdout
        return done

    before = host.ssh(TREE)
    planned = play("harden", "--check", "--diff")
    assert counts(planned)["changed"] > 0
    assert "+ClientAliveInterval 600" in planned.stdout
    assert host.ssh(TREE) == before
    play("harden")
    assert counts(play("harden")) == {"changed": 0, "failed": 0}
    assert "clientaliveinterval 600" in host.ssh("sshd -T")
    assert "USER" in host.ssh("session-reaper list")
    # Debian 11's logind ends no idle session, and an audit says so by failing.
    audited = playbook(
        [host], CHECKOUT / "playbooks/audit.yml", check=False, **policy, session_policy_output=str(tmp_path)
    )
    assert json.loads((tmp_path / "audit.json").read_text()), audited.stdout
    play("report", session_policy_output=str(tmp_path))
    assert "<html" in (tmp_path / "report.html").read_text()
    play("cleanup", "--check")
    play("rollback")
    assert host.ssh(TREE) == before


def test_what_is_tried_here(host, record_property):
    """matrix.py writes down what was there, not what should have been."""
    managed = ran(host, "policy_info")["host"]["python"]
    minor = managed.rpartition(".")[0]
    record_property("ansible_core", ansible_core)
    record_property("controller", platform.python_version())
    record_property("image", host.image)
    record_property("managed", managed)
    record_property("listed", minor in (*REMOTE_ONLY_PYTHON_VERSIONS, *CONTROLLER_PYTHON_VERSIONS))
