# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The profiles that the umbrella role ships, on the controller."""

from __future__ import annotations

import functools
import pathlib

from ansible.module_utils.common.yaml import yaml_load

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "roles/session_policy/vars/profiles"


@functools.lru_cache(maxsize=None)
def _read(path: str) -> dict:
    with open(path, encoding="utf-8") as file:
        return yaml_load(file)["session_policy__profile"]


def read_profiles(folder: str | pathlib.Path = FOLDER) -> dict[str, dict]:
    """Name → data of each YAML file in `folder`."""
    return {path.stem: _read(str(path)) for path in pathlib.Path(folder).glob("*.yml")}
