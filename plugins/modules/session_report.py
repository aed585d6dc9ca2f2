#!/usr/bin/python
# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: session_report
short_description: Write what policy_info and session_info found on all hosts as an audit or a report
version_added: 1.0.0
author:
  - The sessionops.policy authors (@sessionops)
description:
  - Collects what earlier tasks of the play have registered on its hosts, and writes it into a folder on the controller.
    It connects to no host. Run it with C(run_once).
  - A host that was unreachable, or on which a task failed, is a finding; so let the play go on after it with
    C(ignore_unreachable) and C(ignore_errors).
  - All texts from hosts are shown on one line of printable characters, and none is ever taken for a template.
  - The files can be read by their owner only, as they say who is logged in where.
attributes:
  check_mode:
    description: Can run in check mode and says what it would change, without changing anything.
    support: full
    details: [In check mode no file is written.]
  diff_mode:
    description: Says in diff mode what has changed, or in check mode what would change.
    support: none
  idempotent:
    description: A second run with the same options changes nothing.
    support: none
    details: [Each run writes the time into the files.]
  action:
    description: Runs on the controller.
    support: full
  platform:
    description: The systems it runs on.
    platforms: linux
    support: full
options:
  form:
    description:
      - V(audit) writes C(audit.json), C(audit.csv), C(audit.junit.xml) for CI systems, and C(audit.oscal.json), OSCAL
        assessment results.
      - V(report) writes C(report.html), one page that needs nothing else, with C(sessions.json) and C(sessions.csv).
        What changed is told if the folder has the C(sessions.json) of an earlier report.
    type: str
    choices: [audit, report]
    required: true
  policy_info:
    description: The variable that the result of M(sessionops.policy.policy_info) was registered in.
    type: str
    required: true
  session_info:
    description: The variable that the result of M(sessionops.policy.session_info) was registered in; for a report.
    type: str
  session_history_info:
    description:
      - The variable that the result of M(sessionops.policy.session_history_info) was registered in; for a report, which
        without it does not say why sessions ended.
    type: str
  output:
    description:
      - The folder to write into. The default is C(session-report) beside the inventory, or in the current folder where
        there is none.
    type: path
  waivers:
    description:
      - A YAML file, relative to the current folder or to that of the inventory. It holds a list of dictionaries.
        C(rule) is a rule id, with or without its benchmark (V(cis 5.1.7) or V(5.1.7)), or the name of a setting, or
        V(unreachable). C(hosts) is a shell pattern for names of hosts or groups, or a list of them. C(reason) is a
        text. C(expires) is the last day on which the waiver holds.
      - What a waiver covers does not count against the host. A waiver that has expired does count, whether or not there
        is still something that it would cover.
    type: path
  profile:
    description: The name of the profile, to be shown.
    type: str
"""

EXAMPLES = r"""
- name: Write an audit
  sessionops.policy.session_report:
    form: audit
    policy_info: found
    waivers: waivers.yml
  register: written
  run_once: true

# The file waivers.yml:
# - rule: cis 5.1.7
#   hosts: [jump_hosts, db1]
#   reason: Tunnels of the backup, ticket 4711
#   expires: 2027-01-31
"""

RETURN = r"""
compliant:
  description: Whether all hosts comply and no waiver has expired.
  returned: success
  type: bool
verdict:
  description: A sentence on the whole.
  returned: success
  type: str
  sample: "2 of 3 hosts comply; unreachable: db1."
tables:
  description: By host, its findings as lines for a terminal.
  returned: if O(form=audit)
  type: dict
files:
  description: The files that were written.
  returned: success
  type: list
  elements: str
"""
