# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An audit as OSCAL assessment results (NIST), JSON form.

Each finding on a host is an observation; each rule of a benchmark is an OSCAL finding, satisfied if all observations
about it are. Identifiers are derived, so that the same host and finding have the same one in every audit.
"""

from __future__ import annotations

import re
import typing as t
import uuid

from ansible_collections.sessionops.policy.plugins.plugin_utils._audit import PASS, WAIVED, said

VERSION = "1.2.3"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/sessionops/policy")
# Where the names of our properties are ours.
_NS = "https://github.com/sessionops/policy/ns/oscal"
_KINDS = {"cis": "CIS", "stig": "STIG", "pci_dss": "PCI-DSS", "nist": "NIST SP 800-53", "srg": "SRG", "anssi": "ANSSI"}


def _id(*parts: t.Any) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(map(str, parts))))


def control_id(rule: str) -> str:
    """A rule as an OSCAL token: NIST's ids in the catalog's spelling (`AC-2(5)` is `ac-2.5`)."""
    benchmark, _blank, name = rule.partition(" ")
    if benchmark == "nist":
        return re.sub(r"\((\d+)\)", r".\1", name).lower()
    return re.sub(r"[^\w.-]", "-", f"{benchmark}-{name}" if benchmark != "stig" else name)


def assessment_results(document: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    when = document["generated_at"]
    plan = _id("plan", document["profile"])
    observations: list[dict[str, t.Any]] = []
    # rule → the observations about it, each with whether it is in order
    about: dict[str, list[tuple[str, str]]] = {}
    for row in document["hosts"]:
        for number, finding in enumerate(row["findings"]):
            observation = _observation(row, finding, number, when)
            observations.append(observation)
            for rule in finding["rules"] or [f"session-policy {finding['setting']}"]:
                about.setdefault(rule, []).append((observation["uuid"], finding["result"]))
    for waiver in document["expired_waivers"]:
        text = f"The waiver of {waiver['rule']} for {', '.join(waiver['hosts'])} expired on {waiver['expires']}."
        observations.append(
            {"uuid": _id("waiver", text), "description": text, "methods": ["EXAMINE"], "collected": when}
        )
        about.setdefault(f"session-policy waiver-{waiver['rule']}", []).append((observations[-1]["uuid"], "fail"))
    title = f"Session policy audit, profile {document['profile']}"
    controls = [{"control-id": one} for one in dict.fromkeys(map(control_id, about))]
    result = {
        "uuid": _id("result", when, document["profile"]),
        "title": title,
        "description": "The timeouts of login sessions that are in force on each host, against the policy.",
        "start": when,
        "end": when,
        "reviewed-controls": {
            "control-selections": [{"include-controls": controls} if controls else {"include-all": {}}]
        },
    }
    if document["hosts"]:
        result["local-definitions"] = {"inventory-items": [_item(row) for row in document["hosts"]]}
    if observations:
        result["observations"] = observations
        result["findings"] = [_finding(rule, seen, when) for rule, seen in about.items()]
    return {
        "assessment-results": {
            "uuid": _id("document", when, document["profile"]),
            "metadata": {"title": title, "last-modified": when, "version": when, "oscal-version": VERSION},
            "import-ap": {"href": f"#{plan}"},
            "results": [result],
            "back-matter": {
                "resources": [
                    {
                        "uuid": plan,
                        "title": "Assessment plan",
                        "description": "policy_info of the Ansible collection sessionops.policy looks at every host of "
                        "the inventory and judges what is in force.",
                    }
                ]
            },
        }
    }


def _item(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    props = [("status", row["status"]), ("distribution", row["distribution"]), ("openssh-version", row["openssh"])]
    return {
        "uuid": _id("host", row["name"]),
        "description": row["name"],
        "props": [{"name": "asset-id", "value": row["name"]}, *_props(props)],
    }


def _props(pairs: t.Iterable[tuple[str, t.Any]]) -> list[dict[str, str]]:
    """Properties of ours; a value must neither be empty nor begin or end with a blank."""
    texts = [(name, "" if value is None else str(value).strip()) for name, value in pairs]
    return [{"name": name, "ns": _NS, "value": text} for name, text in texts if text]


def _observation(
    row: t.Mapping[str, t.Any], finding: t.Mapping[str, t.Any], number: int, when: str
) -> dict[str, t.Any]:
    names = ("result", "kind", "layer", "clock", "setting", "user", "shell", "wanted", "in_force", "source")
    pairs = [(name.replace("_", "-"), finding[name]) for name in names]
    observation = {
        "uuid": _id("observation", when, row["name"], number),
        "title": f"{row['name']}: {finding['clock']}, {finding['setting']}",
        "description": f"{finding['clock']}, {finding['setting']}: in force is {finding['wanted']}."
        if finding["result"] == PASS
        else said(finding),
        "props": _props(pairs),
        "methods": ["TEST"],
        "subjects": [{"subject-uuid": _id("host", row["name"]), "type": "inventory-item"}],
        "collected": when,
    }
    if finding["result"] == WAIVED:
        observation["remarks"] = f"Waived until {finding['waiver']['expires']}: {finding['waiver']['reason']}"
    return observation


def _finding(rule: str, seen: t.Sequence[tuple[str, str]], when: str) -> dict[str, t.Any]:
    benchmark, _blank, name = rule.partition(" ")
    satisfied = all(result in (PASS, WAIVED) for _uuid, result in seen)
    status: dict[str, t.Any] = {"state": "satisfied" if satisfied else "not-satisfied"}
    if satisfied and any(result == WAIVED for _uuid, result in seen):
        status.update(reason="other", remarks="Some of what does not comply is waived: see the observations.")
    title = f"{_KINDS.get(benchmark, benchmark)} {name}"
    return {
        "uuid": _id("finding", when, rule),
        "title": title,
        "description": f"{title} on {len(seen)} observations.",
        "target": {"type": "objective-id", "target-id": control_id(rule), "status": status},
        "related-observations": [{"observation-uuid": one} for one, _result in seen],
    }
