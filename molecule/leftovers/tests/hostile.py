# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the owner of lock files does in their home while these are removed: argv[1] for argv[2] seconds.

attack: exchanges files and folders for links, FIFOs and each other. flock, fcntl: takes a lock as a careful program does,
and counts how often the file was gone while it had it.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import time

os.chdir(os.path.expanduser("~"))
kind, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
child = subprocess.Popen(["true"])
child.wait()
DEAD = f"{child.pid}\n"
VICTIM = "/srv/victim"


def gone(path):
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except OSError:
        pass


def lock_at(path):
    with open(path, "w") as stream:
        stream.write(DEAD)


def attack():
    """One turn: the file, then its folder, become something else."""
    for path in ("x.lock", "d/x.lock"):
        lock_at("new.tmp")
        os.makedirs("d", exist_ok=True)
        os.replace("new.tmp", path)
    time.sleep(random.choice((0.001, 0.02, 0.1, 0.3)))
    turn = random.randrange(6)
    if turn == 0:
        os.symlink(f"{VICTIM}/x.lock", "new.tmp")
        os.replace("new.tmp", random.choice(("x.lock", "d/x.lock")))
    elif turn == 1:
        os.rename("d", "aside")
        os.symlink(VICTIM, "d")
        time.sleep(random.choice((0, 0.001)))
        os.unlink("d")
        os.rename("aside", "d")
    elif turn == 2:
        os.mkfifo("new.tmp")
        os.replace("new.tmp", "x.lock")
    elif turn == 3:
        os.unlink("x.lock")
        os.mkdir("x.lock")
        lock_at("x.lock/inner")
    elif turn == 4:
        os.symlink("/etc/passwd", "new.tmp")
        os.replace("new.tmp", "d/x.lock")
    else:
        os.rename("d", "aside")
        os.rename("aside", "d")


def attacks():
    turns = 0
    while time.monotonic() < end:
        try:
            attack()
        except OSError:
            pass  # what was there was taken from under us
        turns += 1
        for path in ("new.tmp", "aside", "x.lock", "d"):
            gone(path)
    return {"turns": turns}


def careful(lock):
    turns = lost = 0
    path = f"{kind}.lock"
    while time.monotonic() < end:
        with open(path, "a+") as stream:
            try:
                lock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.stat(path), os.fstat(stream.fileno())):
                    continue
            except OSError:
                continue
            stream.seek(0)
            stream.truncate()
            stream.write(f"{os.getpid()}\n")
            stream.flush()
            turns += 1
            for _look in range(5):
                time.sleep(0.002)
                try:
                    lost += not os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
                except OSError:
                    lost += 1
            stream.seek(0)
            stream.truncate()
            stream.write(DEAD)
        time.sleep(random.choice((0.001, 0.05, 0.3)))
    return {"turns": turns, "lost": lost}


print(json.dumps(attacks() if kind == "attack" else careful(getattr(fcntl, "flock" if kind == "flock" else "lockf"))))
