# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes an unconfirmed change back when nobody can reach the host any more: the host itself.

/var/lib/session-policy/revert.pyz   this engine; it is there while a change waits to be confirmed
a transient timer of systemd, without it a process of its own, which runs that when the time is up
a unit, without systemd a line in /etc/inittab, which runs it before sshd starts at the next boot
"""

from __future__ import annotations

import io
import os
import pkgutil
import sys
import typing as t
import zipfile

from . import block, files, journal
from .block import Markers
from .files import File, Refused, World
from .journal import Journal

# All that `revert` needs, by their names in this package.
PARTS = (
    *("block", "files", "guard", "journal", "logins", "model", "namespace", "order", "revert", "syslog", "transaction"),
    *("observe/sshd_config", "observe/tree"),
)
_MAIN = "from engine.revert import main\n\nmain()\n"
_UNITS = "/etc/systemd/system"
_UNIT = f"{_UNITS}/session-policy-revert.service"
_WANTS = f"{_UNITS}/sysinit.target.d/session-policy-revert.conf"
_INITTAB = "/etc/inittab"
_MARKERS = Markers.of("revert", "#")


def program() -> bytes:
    """The engine as a program of one file, for Python's zip import."""
    # What is named nowhere else would be missing where Ansible brings this.
    from . import revert

    package = revert.__name__.rpartition(".")[0]
    with io.BytesIO() as whole:
        with zipfile.ZipFile(whole, "w") as archive:
            for path, text in _sources(package):
                archive.writestr(zipfile.ZipInfo(path), text)
        return whole.getvalue()


def _sources(package: str) -> t.Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    yield "engine/__init__.py", b""
    yield "engine/observe/__init__.py", b""
    for part in PARTS:
        text = pkgutil.get_data(package, part + ".py")
        if text is None:
            raise Refused(f"this installation of the collection has no {part}.py: install it again")
        yield f"engine/{part}.py", text


def _systemd(world: World) -> bool:
    return os.path.isdir(os.path.join(world.root, "run/systemd/system"))


def arm(world: World, key: str, within: int) -> str | None:
    """Make the host take the transaction `key` back in `within` seconds, or at its next boot.

    Returns:
        A sentence about what does not hold on this host, or None.

    Raises:
        OSError, Refused: the host can't; `disarm` takes away what was begun.
    """
    if not sys.executable:
        raise Refused("this Python does not know where it lies, so the host could not run it to take a change back")
    path = journal.where(world.root, journal.PROGRAM)
    _write(world, path, File(program(), 0o600, os.geteuid(), os.getegid()))
    command = (sys.executable, "-I", "-B", path)
    if _systemd(world):
        _write(world, _UNIT, _text(_BOOT_UNIT.format(command=" ".join(command))))
        _write(world, _WANTS, _text(f"[Unit]\nWants={os.path.basename(_UNIT)}\n"))
        timer = (
            *("systemd-run", "--quiet", "--collect", f"--unit={_timer(key)}", f"--on-active={within}"),
            *("--timer-property=AccuracySec=200ms", "--property=Type=exec", *command, "now", key),
        )
        outcome = world.run(timer)
        if not outcome.ok:
            raise Refused(f"the host's own revert can't be armed: {outcome}")
        return None
    unsure = None
    inittab = _read(world, _INITTAB)
    if inittab:
        # init runs it when the file systems are there, and waits for it before it enters the runlevel.
        line = f"spr0::bootwait:{' '.join(command)} boot\n".encode()
        _write(world, _INITTAB, _with(inittab, block.put(inittab.data, line, _MARKERS, "bottom")))
    else:
        unsure = (
            "this host has neither systemd nor /etc/inittab: where it is started anew before the change is confirmed, "
            "the next run takes the change back"
        )
    world.detach((*command, "wait", key, str(within)))
    return unsure


_BOOT_UNIT = """\
# Made by sessionops.policy; it goes when the change is confirmed or taken back.
[Unit]
Description=Take back a change of the session policy that nobody confirmed
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart={command} boot
"""


def disarm(world: World, log: Journal) -> None:
    """Stop the timer; a process of its own sees by itself that there is nothing to wait for."""
    if log.confirm and _systemd(world):
        world.run(("systemctl", "stop", f"{_timer(log.key)}.timer"))


def tidy(world: World) -> None:
    """Take away what nothing needs any more that waits; the program goes last, so that what is left is found again."""
    path = journal.where(world.root, journal.PROGRAM)
    if _read(world, path) is None or any(log.confirm for log in journal.pending(world.root)):
        return
    inittab = _read(world, _INITTAB)
    if inittab and not _systemd(world):
        without = block.take(inittab.data, _MARKERS)
        if without != inittab.data:
            _write(world, _INITTAB, _with(inittab, without))
    for each in (_INITTAB, _WANTS, _UNIT, path):
        _remove(world, _beside(each))
    for each in (_WANTS, _UNIT, path):
        _remove(world, each)
    journal.remove_folder(world, os.path.dirname(_WANTS))


def _timer(key: str) -> str:
    return f"session-policy-revert-{key}"


def _text(text: str) -> File:
    return File(text.encode(), 0o644, os.geteuid(), os.getegid())


def _with(file: File, data: bytes) -> File:
    return File(data, file.mode, file.uid, file.gid, file.xattrs, file.mtime_ns)


def _read(world: World, path: str) -> File | None:
    return files.read(world.root, files.locate(world.root, path))


def _write(world: World, path: str, file: File) -> None:
    spot = files.locate(world.root, path)
    for made in spot.made:
        above = files.open_folder(world.root, os.path.dirname(made))
        try:
            files.make_folder(world, above, os.path.basename(made), 0o755, os.geteuid(), os.getegid())
        finally:
            os.close(above)
    folder = files.open_folder(world.root, os.path.dirname(spot.path))
    try:
        new = os.path.basename(_beside(path))
        files.forget(world, folder, new)
        files.write_new(world, folder, new, file)
        world.rename(new, spot.name, folder)
        world.fsync(folder)
    finally:
        os.close(folder)


def _beside(path: str) -> str:
    """Where a file is written before it is renamed; a kill may leave that behind."""
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")


def _remove(world: World, path: str) -> None:
    spot = files.locate(world.root, path)
    if not spot.missing:
        folder = files.open_folder(world.root, spot.folder)
        try:
            files.forget(world, folder, spot.name)
            world.fsync(folder)
        finally:
            os.close(folder)
