# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit: what policy_info found on every host, with unreachable hosts and waivers, as one document; and its forms.

Everything that came from a host passes `harmless` on its way in.
"""

from __future__ import annotations

import csv
import datetime
import io
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import visible
from ansible_collections.sessionops.policy.plugins.module_utils._engine.table import findings_table, sentence
from ansible_collections.sessionops.policy.plugins.plugin_utils._waivers import Waiver

PASS, FAIL, NOT_ENFORCED, WAIVED = "pass", "fail", "not_enforced", "waived"
COMPLIANT, NOT_COMPLIANT, UNREACHABLE, FAILED = "compliant", "not_compliant", "unreachable", "failed"
STATUSES = (COMPLIANT, NOT_ENFORCED, NOT_COMPLIANT, UNREACHABLE, FAILED)

_WAIVE = "nothing here can enforce it: waive it with the reason, or let another layer do it"


class Seen(t.NamedTuple):
    """What Ansible registered for a host: `name`, its `groups`, and the result of policy_info (None: no such task)."""

    name: str
    groups: t.Sequence[str]
    result: t.Mapping[str, t.Any] | None


def harmless(value: t.Any) -> t.Any:
    """`value` in plain types, every text in it on one line of printable characters."""
    if isinstance(value, str):
        return visible(str(value))
    if isinstance(value, t.Mapping):
        return {visible(str(key)): harmless(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [harmless(one) for one in value]
    return value


def trouble_of(result: t.Mapping[str, t.Any]) -> str:
    """What a task that failed said, on one line."""
    words = str(result.get("msg") or "").split()
    return visible(" ".join(words)).rstrip(".") or "the host was not looked at"


def audit(
    hosts: t.Sequence[Seen], waivers: t.Sequence[Waiver], now: datetime.datetime, profile: str | None
) -> dict[str, t.Any]:
    """The document that audit.json holds; `now` is in UTC, `profile` is named where no host tells its own."""
    today = now.date()
    rows = [_host(seen, waivers, today) for seen in hosts]
    expired = [waiver for waiver in waivers if waiver.expired(today)]
    counts = {status: sum(row["status"] == status for row in rows) for status in STATUSES}
    # Hosts can have profiles of their own.
    profiles = dict.fromkeys(row["profile"] for row in rows if row["profile"])
    results = [finding["result"] for row in rows for finding in row["findings"]]
    return {
        "format": 1,
        "generated_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "profile": ", ".join(profiles) or harmless(profile),
        "compliant": bool(rows) and counts[COMPLIANT] == len(rows) and not expired,
        "hosts_by_status": counts,
        "findings_by_result": {name: results.count(name) for name in (PASS, FAIL, NOT_ENFORCED, WAIVED)},
        "hosts": rows,
        "expired_waivers": [
            {"rule": w.rule, "hosts": list(w.hosts), "reason": w.reason, "expires": w.expires.isoformat()}
            for w in expired
        ],
    }


def _host(seen: Seen, waivers: t.Sequence[Waiver], today: datetime.date) -> dict[str, t.Any]:
    status, trouble = _trouble(seen.result or {})
    result = harmless(seen.result or {})
    findings = result.get("findings") or []
    if trouble:
        findings = [trouble]
    names = [seen.name, *seen.groups]
    findings = [_with_result(finding, names, waivers, today) for finding in findings]
    results = {finding["result"] for finding in findings}
    if not trouble or results == {WAIVED}:
        status = NOT_COMPLIANT if FAIL in results else NOT_ENFORCED if NOT_ENFORCED in results else COMPLIANT
    host, sshd = result.get("host") or {}, result.get("sshd") or {}
    return {
        "name": visible(seen.name),
        "status": status,
        "profile": (result.get("policy") or {}).get("profile"),
        "distribution": host.get("name"),
        "openssh": sshd.get("version"),
        "findings": findings,
        "warnings": (result.get("policy") or {}).get("warnings") or [],
    }


def _trouble(result: t.Mapping[str, t.Any]) -> tuple[str, dict[str, t.Any] | None]:
    """A host that could not be judged is a finding of its own."""
    if result.get("unreachable"):
        return UNREACHABLE, _no_look(UNREACHABLE, result, "make it reachable and audit it again")
    if result.get("failed") or not result:
        return FAILED, _no_look(FAILED, result, "mend that and audit it again")
    if not result.get("findings"):
        why = {"msg": "the policy holds no setting that could be judged"}
        return FAILED, _no_look(FAILED, why, "choose a profile, or set values")
    return COMPLIANT, None


def _no_look(kind: str, result: t.Mapping[str, t.Any], remedy: str) -> dict[str, t.Any]:
    return {
        "layer": "host", "clock": "audit", "setting": kind, "wanted": "audited", "in_force": kind, "compliant": False,
        "source": None, "overridden_by": None, "why": trouble_of(result), "remedy": remedy, "rules": [],
        "user": None, "shell": None, "bound": None, "kind": kind,
    }  # fmt: skip


def _with_result(
    finding: t.Mapping[str, t.Any], names: t.Sequence[str], waivers: t.Sequence[Waiver], today: datetime.date
) -> dict[str, t.Any]:
    if finding["compliant"]:
        return {**finding, "result": PASS, "waiver": None}
    covering = [waiver for waiver in waivers if waiver.covers(names, finding)]
    valid = next((waiver for waiver in covering if not waiver.expired(today)), None)
    if valid:
        waiver = {"rule": valid.rule, "reason": valid.reason, "expires": valid.expires.isoformat()}
        return {**finding, "result": WAIVED, "waiver": waiver}
    why = [finding["why"]] if finding["why"] else []
    why += [f"its waiver expired on {waiver.expires.isoformat()}" for waiver in covering[:1]]
    remedy = finding["remedy"] or _WAIVE
    result = NOT_ENFORCED if finding["compliant"] is None else FAIL
    return {**finding, "result": result, "waiver": None, "why": "; ".join(why) or None, "remedy": remedy}


def unseen(finding: t.Mapping[str, t.Any]) -> bool:
    """Whether it says that its host could not be judged at all."""
    return finding["kind"] in (UNREACHABLE, FAILED)


def said(finding: t.Mapping[str, t.Any]) -> str:
    """One sentence on a finding that is not in order."""
    if unseen(finding):
        return f"{finding['kind']}: {finding['why']}; {finding['remedy']}."
    return sentence(finding)


# --- for people -------------------------------------------------------------------------------------------------


def tables(document: t.Mapping[str, t.Any], width: int = 68) -> dict[str, list[str]]:
    """By host, its findings as lines for a terminal."""
    return {row["name"]: _table(row, width) for row in document["hosts"]}


def _table(row: t.Mapping[str, t.Any], width: int) -> list[str]:
    open_ = [finding for finding in row["findings"] if finding["result"] in (FAIL, NOT_ENFORCED)]
    lines = [f"{row['name']}: {row['status'].replace('_', ' ')}"]
    if row["status"] not in (UNREACHABLE, FAILED):
        lines += findings_table(row["findings"], width)
    lines += [said(finding) for finding in open_ if finding["result"] == FAIL]
    for finding in row["findings"]:
        if finding["result"] == WAIVED:
            waiver = finding["waiver"]
            lines.append(f"waived until {waiver['expires']} ({waiver['reason']}): {said(finding)}")
    return [*lines, *row["warnings"]]


def verdict(document: t.Mapping[str, t.Any]) -> str:
    """One sentence on the whole audit."""
    counts = document["hosts_by_status"]
    said = [f"{counts[COMPLIANT]} of {len(document['hosts'])} hosts comply"]
    for status in STATUSES[1:]:
        names = [row["name"] for row in document["hosts"] if row["status"] == status]
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            said.append(f"{status.replace('_', ' ')}: {', '.join(names[:10])}{more}")
    said += [f"the waiver of {w['rule']} expired on {w['expires']}" for w in document["expired_waivers"]]
    return "; ".join(said) + "."


# --- for programs -----------------------------------------------------------------------------------------------

COLUMNS = (
    "host", "status", "result", "kind", "layer", "clock", "setting", "user", "shell", "wanted", "in_force", "source",
    "overridden_by", "rules", "why", "remedy", "waiver",
)  # fmt: skip


def as_csv(columns: t.Sequence[str], rows: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """RFC 4180; a text that a spreadsheet would calculate gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def _cell(value: t.Any) -> t.Any:
    if isinstance(value, (list, tuple)):
        value = "; ".join(map(str, value))
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def audit_csv(document: t.Mapping[str, t.Any]) -> str:
    """One row a finding, and one for each waiver that has expired."""
    rows = [
        {**f, "host": row["name"], "status": row["status"], "waiver": f["waiver"] and f["waiver"]["reason"]}
        for row in document["hosts"]
        for f in row["findings"]
    ]
    for waiver in document["expired_waivers"]:
        why = f"the waiver expired on {waiver['expires']}"
        rows.append({"result": FAIL, "kind": "expired_waiver", "rules": [waiver["rule"]], "why": why})
    return as_csv(COLUMNS, rows)


def junit_xml(document: t.Mapping[str, t.Any]) -> str:
    """The JUnit form that CI systems read: a suite a host, a case a finding."""
    root = ET.Element("testsuites", name="session policy audit")
    for row in document["hosts"]:
        suite = ET.SubElement(root, "testsuite", name=row["name"], timestamp=document["generated_at"].rstrip("Z"))
        for finding in row["findings"]:
            kind = "" if finding["kind"] == "value" else f" ({finding['kind'].replace('_', ' ')})"
            about = [finding["clock"], finding["setting"], finding["shell"], finding["user"]]
            name = ", ".join(part for part in about if part) + kind
            case = ET.SubElement(suite, "testcase", classname=f"{row['name']}.{finding['layer']}", name=name, time="0")
            if finding["result"] == WAIVED:
                ET.SubElement(case, "skipped", message=f"waived: {finding['waiver']['reason']}")
            elif unseen(finding):
                ET.SubElement(case, "error", type=finding["kind"], message=said(finding))
            elif finding["result"] != PASS:
                rules = ", ".join(finding["rules"])
                ET.SubElement(case, "failure", type=finding["result"], message=said(finding)).text = rules
    if document["expired_waivers"]:
        suite = ET.SubElement(root, "testsuite", name="waivers", timestamp=document["generated_at"].rstrip("Z"))
        for waiver in document["expired_waivers"]:
            case = ET.SubElement(suite, "testcase", classname="waivers", name=waiver["rule"], time="0")
            ET.SubElement(case, "failure", type="expired", message=f"the waiver expired on {waiver['expires']}")
    for suite in root:
        suite.attrib.update(
            tests=str(len(suite)), failures=_count(suite, "failure"), errors=_count(suite, "error"),
            skipped=_count(suite, "skipped"),
        )  # fmt: skip
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _count(suite: ET.Element, what: str) -> str:
    return str(len(suite.findall(f"testcase/{what}")))
