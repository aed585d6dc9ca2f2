# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host itself runs, without Ansible and without anybody: take back what nobody has confirmed.

revert.pyz now KEY             from a timer, when the time is up
revert.pyz wait KEY SECONDS    the same without a timer: it waits by itself, and ends when there is nothing to wait for
revert.pyz boot                before sshd starts: whoever changed something before the boot can't confirm it any more
"""

from __future__ import annotations

import os
import signal
import sys
import typing as t

from . import guard, journal, logins, transaction
from .files import World
from .journal import Journal
from .syslog import NOTICE, WARNING, Log, log

IDENTIFIER = "session-policy"
# Seconds between attempts, when something can't be put back.
AGAIN = 5.0


def main(argv: t.Sequence[str] | None = None, world: World | None = None, write: Log = log) -> None:
    verb, *rest = sys.argv[1:] if argv is None else argv
    world = world or World()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if verb == "boot":
        _take_back(world, None, write)
        return
    if verb == "wait":
        _boot, now = world.boot()
        end = now + float(rest[1])
        while world.boot()[1] < end:
            if not _is_armed(world, rest[0]):
                return
            world.sleep(min(1.0, max(0.05, end - world.boot()[1])))
    failed = 0
    while not _take_back(world, rest[0], write, first=not failed):
        failed += 1
        world.sleep(AGAIN)


def _is_armed(world: World, key: str) -> bool:
    return os.path.exists(os.path.join(journal.where(world.root, journal.TRANSACTIONS, key), journal.ARMED))


def _take_back(world: World, key: str | None, write: Log, first: bool = True) -> bool:
    """Take back the transaction `key`, or at boot all that came to no end; whether there is nothing left to do."""
    held = journal.lock(world, create=False, limit=float("inf"))
    if held is None:
        return True
    try:
        done = True
        for old in journal.pending(world.root):
            if key in (None, old.key):
                done = _one(world, old, key is None, write, first) and done
        if done:
            guard.tidy(world)
            journal.tidy(world)
        return done
    finally:
        os.close(held)


def _one(world: World, old: Journal, at_boot: bool, write: Log, first: bool) -> bool:
    why = _why(world, old, at_boot)
    facts = {"transaction": old.name, "id": old.key, "why": why}
    try:
        restored, said = transaction.take_back(world, old, not at_boot)
    except transaction.Failed as problem:
        if first:
            write(IDENTIFIER, WARNING, "could not take back an unconfirmed change", {**facts, "problem": str(problem)})
        return False
    left = [f"{path} was changed by somebody else and left" for path in restored.left]
    journal.finish(world, old, journal.REVERTED, ". ".join([why, *left, *filter(None, [said])]))
    write(IDENTIFIER, NOTICE, "took back an unconfirmed change", {**facts, "problem": said})
    return True


def _why(world: World, old: Journal, at_boot: bool) -> str:
    if not old.applied:
        return "the run that made it was interrupted"
    if at_boot:
        return "the host was started anew before anybody confirmed it"
    words = f"nobody confirmed it within {old.confirm.within} s" if old.confirm else "nobody confirmed it"
    if old.confirm and old.logins:
        # While its files are still in force: what does a login say?
        said = logins.dead(
            world, old.logins, old.confirm.user, old.confirm.address, old.confirm.port, None, attempts=1, patience=1.0
        )
        words += f"; {said}" if said else "; logins got as far as sshd's answer, so look at the account and its session"
    return words
