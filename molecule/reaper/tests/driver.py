# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives the reaper that is installed on this host from inside, as JSON on stdout. Runs there as ``driver.py WHAT ...``.

state USERS...      write a state in which the sessions of the first user are idle for long and were warned, those of the
                    second are near their limit, and those of all others at work; then say how long the file is
corrupt             judge with that file damaged at every byte and cut at every length: how often it was believed
run N               a run that is killed at its Nth deed (0: never); a deed is what leaves something behind
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, "/usr/local/lib/session-reaper")
from _engine import syslog
from _engine.act import claims, signals, warning
from _engine.end_sessions import Terminator
from _engine.reaper import run as reaper
from _engine.reaper import state as states
from mortal import Mortal

mortal = Mortal(0)


def prepare(idle_user, near_user):
    found = reaper.look(reaper.World())
    policy, watched = found.policy, found.state.watched + 1000
    sessions = {}
    for verdict in found.verdicts:
        seen = verdict.seen._replace(idle=0.0, warned=None, why="", reported=False)
        if verdict.session.user == idle_user:
            seen = seen._replace(idle=policy.limits.idle + 100.0, warned=watched - 100, why="idle")
        elif verdict.session.user == near_user:
            seen = seen._replace(idle=policy.limits.idle - policy.warn + 1.0)
        sessions[verdict.session.id] = seen
    states.save(states.FOLDER, found.state._replace(sessions=sessions, watched=watched))
    print(os.path.getsize(states.FOLDER + "/state"))


def corrupt():
    path = states.FOLDER + "/state"
    with open(path, "rb") as file:
        whole = file.read()
    seen = reaper.observe(reaper.Roots(), 0.0)
    world = reaper.World(look=lambda roots, sample: seen)
    verdicts = {v.name for v in reaper.look(world).verdicts}
    tried, believed, wrong = 0, 0, 0
    for at in range(len(whole)):
        for damaged in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            with open(path, "wb") as file:
                file.write(damaged)
            found = reaper.look(world)
            tried += 1
            believed += found.anew is None
            wrong += any(v.name in ("warn", "end", "warned") for v in found.verdicts)
    with open(path, "wb") as file:
        file.write(whole)
    print(json.dumps({"whole": sorted(verdicts), "tried": tried, "believed": believed, "wrong": wrong}))


class Kernel(signals.Kernel):
    send = mortal(signals.Kernel.send)


class Claims(claims.Claims):
    take = mortal(claims.Claims.take)
    note = mortal(claims.Claims.note)
    release = mortal(claims.Claims.release)


def run(deed):
    mortal.left = deed
    for name in ("fsync", "rename", "write", "pwrite", "truncate"):
        setattr(os, name, mortal(getattr(os, name)))
    warning.write = mortal(warning.write)
    world = reaper.World(
        log=mortal(syslog.log),
        terminator=lambda world: Terminator(kernel=Kernel(), claims=Claims(), log=world.log, groups=world.groups),
    )
    status = reaper.run(world)
    print(json.dumps({"status": status, "deeds": -mortal.left}))


if sys.argv[1] == "state":
    prepare(*sys.argv[2:])
elif sys.argv[1] == "corrupt":
    corrupt()
else:
    run(int(sys.argv[2]))
