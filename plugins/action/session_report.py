# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what was registered on all hosts as an audit or a report. No text from a host passes through a template."""

from __future__ import annotations

import datetime
import json
import os
import pathlib

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.sessionops.policy.plugins.plugin_utils._audit import (
    Seen,
    audit,
    audit_csv,
    junit_xml,
    tables,
    verdict,
)
from ansible_collections.sessionops.policy.plugins.plugin_utils._oscal import assessment_results
from ansible_collections.sessionops.policy.plugins.plugin_utils._output import (
    beside_inventory,
    output_folder,
    write_files,
)
from ansible_collections.sessionops.policy.plugins.plugin_utils._report import read_previous, report_files
from ansible_collections.sessionops.policy.plugins.plugin_utils._waivers import Waiver, parse_waivers


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        result = super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(
            {
                "form": {"type": "str", "choices": ["audit", "report"], "required": True},
                "policy_info": {"type": "str", "required": True},
                "session_info": {"type": "str"},
                "session_history_info": {"type": "str"},
                "output": {"type": "path"},
                "waivers": {"type": "path"},
                "profile": {"type": "str"},
            }
        )
        task_vars = task_vars or {}
        sources = task_vars.get("ansible_inventory_sources") or []
        now = datetime.datetime.now(datetime.timezone.utc)
        waivers = self._waivers(args["waivers"], sources)
        raw = {name: task_vars["hostvars"].raw_get(name) for name in task_vars["ansible_play_hosts_all"]}
        hosts = [
            Seen(name, found.get("group_names") or [], found.get(args["policy_info"])) for name, found in raw.items()
        ]
        document = audit(hosts, waivers, now, args["profile"])
        folder = output_folder(args["output"], sources, os.getcwd())
        if args["form"] == "audit":
            files = {
                "audit.json": json.dumps(document, indent=1) + "\n",
                "audit.csv": audit_csv(document),
                "audit.junit.xml": junit_xml(document),
                "audit.oscal.json": json.dumps(assessment_results(document), indent=1) + "\n",
            }
        else:
            sessions = {name: found.get(args["session_info"] or "") for name, found in raw.items()}
            previous, doubt = read_previous(folder)
            result["warnings"] = [doubt] if doubt else []
            asked = args["session_history_info"]
            histories = {name: found.get(asked) for name, found in raw.items()} if asked else None
            files = report_files(document, sessions, previous, histories)
        if not self._task.check_mode:
            try:
                write_files(folder, files)
            except OSError as exc:
                raise AnsibleActionFail(f"{exc.filename}: {exc.strerror}: name another folder with output.") from exc
        result.update(
            changed=True,
            compliant=document["compliant"],
            verdict=verdict(document),
            tables=tables(document) if args["form"] == "audit" else {},
            files=[str(folder / name) for name in files],
        )
        return result

    def _waivers(self, path: str | None, sources: list) -> list[Waiver]:
        if not path:
            return []
        places = [pathlib.Path(folder, path) for folder in (os.getcwd(), beside_inventory(sources)) if folder]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise AnsibleActionFail(f"waivers: there is no file {' nor '.join(dict.fromkeys(map(str, places)))}.")
        try:
            return parse_waivers(self._loader.load_from_file(str(found), cache="none"))
        except ValueError as exc:
            raise AnsibleActionFail(f"{found}: {exc}.") from exc
