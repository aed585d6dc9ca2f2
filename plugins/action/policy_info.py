# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""policy_info with a profile: the host is only looked at; which values hold for it is decided here, and judged."""

from __future__ import annotations

import dataclasses

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_policy import judge_policy
from ansible_collections.sessionops.policy.plugins.module_utils._engine.policy import Policy, resolve
from ansible_collections.sessionops.policy.plugins.module_utils._engine.wanted import parse_wanted
from ansible_collections.sessionops.policy.plugins.plugin_utils._profiles import read_profiles


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        profile = args.pop("profile", None)
        chosen = args.get("wanted") or {}
        if profile is not None:
            if not isinstance(chosen, dict):
                raise AnsibleActionFail("wanted: write a dictionary of settings, like {idle_timeout: 15m}.")
            chosen = {**chosen, "profile": profile, "state": "present"}
            policy = _resolved(chosen, {})
            args["wanted"] = {"exempt_users": policy.exempt_users, "exempt_groups": policy.exempt_groups}
        result.update(
            self._execute_module(module_args=args, task_vars=task_vars, wrap_async=self._task.async_val)
        )  # with a profile an asynchronous task would end before there is something to judge
        if profile is None or result.get("failed") or result.get("unreachable") or "sshd" not in result:
            return result
        # That sshd refuses its configuration is a finding here, and no reason to stop.
        policy = _resolved(chosen, {**result, "sshd": {**result["sshd"], "config_ok": None}})
        result["policy"] = {"profile": profile, **dataclasses.asdict(policy)}
        wanted = {**policy.values, **{name: result["policy"][name] for name in _JUDGED}}
        result["findings"] = judge_policy(parse_wanted(wanted), result)
        return result


_JUDGED = ("layers", "exempt_users", "exempt_groups", "rules", "scanned")


def _resolved(chosen: dict, facts: dict) -> Policy:
    policy = resolve(read_profiles(), chosen, facts)
    if policy.errors:
        raise AnsibleActionFail("\n".join(policy.errors))
    return policy
