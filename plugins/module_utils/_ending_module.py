# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that end something have in common: session_terminate and leftover_remove."""

from __future__ import annotations

import os

from ._engine.end_sessions import FAILED, Refused
from ._engine.judge_ending import limit_of


def limit_option(params, name):
    """A limit such as ``20%`` or ``3``, out of the module's parameters.

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    try:
        return limit_of(params[name])
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None


def planned_or_done(module, doer, wish, options, sees, taken):
    """The result of ``doer.run``, in check mode of ``doer.plan``; or the module fails, and nothing was touched.

    `sees` is what only root sees, `taken` what an unwritable /run keeps from being done.
    """
    if os.geteuid() != 0:
        module.fail_json(msg=f"only root sees {sees}, and may end it: run this task with become: true")
    try:
        return (doer.plan if module.check_mode else doer.run)(wish, options)
    except Refused as exc:
        return module.fail_json(msg=str(exc))
    except OSError as exc:
        return module.fail_json(msg=f"no claim could be made on {taken}: {exc}. Is /run writable?")


def leave(module, outcomes, ended, key, names, described, failure, **answer):
    """Say what became of each, and fail if some did not end.

    `ended` are the names of outcomes that are changes, `names` those of all outcomes; `key` is what identifies an
    outcome, `described` names it in a few words; `failure` gives the message for those that failed.
    """
    changed = [outcome for outcome in outcomes if outcome.outcome in ended]
    failed = [outcome for outcome in outcomes if outcome.outcome == FAILED]
    answer.update(
        changed=bool(changed),
        summary={name: [key(outcome) for outcome in outcomes if outcome.outcome == name] for name in names},
        diff={
            "before": "".join(described(outcome) + "\n" for outcome in outcomes),
            "after": "".join(described(outcome) + "\n" for outcome in outcomes if outcome not in changed),
        },
    )
    if failed:
        module.fail_json(msg=f"{len(failed)} of {len(outcomes)} {failure(failed)}", **answer)
    module.exit_json(**answer)
