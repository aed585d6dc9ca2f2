# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import functools
import pathlib

from ansible_collections.sessionops.policy.plugins.module_utils import _engine
from ansible_collections.sessionops.policy.plugins.module_utils._engine.reaper import installed

DOCUMENTATION = r"""
name: reaper_engine
author: The sessionops.policy authors (@sessionops)
version_added: 1.0.0
short_description: The engine of this collection as files for a host
description:
  - Lists the files of this collection's engine as P(sessionops.policy.config_transaction#module) takes them, to go
    below C(/usr/local/lib/session-reaper/_engine).
options:
  _input:
    description: The names of the files that are there, as the C(reaper.files) of policy_info has them. Those that this
      collection does not have are to go.
    type: list
    elements: str
    required: true
  state:
    description: Whether the engine is to be there at all.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Show which engine this collection has
  ansible.builtin.debug:
    msg: "{{ ([] | sessionops.policy.reaper_engine).digest }}"
"""

RETURN = r"""
_value:
  description: V(files), and V(digest), the SHA-256 that policy_info gives of the same engine on a host.
  type: dict
"""


@functools.lru_cache(maxsize=1)
def _read() -> tuple[dict[str, str], str]:
    files = installed.read(str(pathlib.Path(_engine.__file__).parent))
    return {name: data.decode("utf-8") for name, data in files.items()}, installed.digest(files)


def reaper_engine(there: list[str], state: str = "present") -> dict:
    files, digest = _read()
    wanted = files if state == "present" else {}
    gone = sorted({*there} - {*wanted})
    return {
        "files": [
            *({"path": f"{installed.FOLDER}/{name}", "content": text} for name, text in wanted.items()),
            *({"path": f"{installed.FOLDER}/{name}", "state": "absent"} for name in gone),
        ],
        "digest": digest,
    }


class FilterModule:
    def filters(self) -> dict:
        return {"reaper_engine": reaper_engine}
