# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection so that the same commit gives the same bytes: `build_artifact.py FOLDER` prints the file's name.

`ansible-galaxy collection build` packs in the order of the folder, with the times of the files and of the build. Here its
archive is written again: entries and FILES.json in order of their names, all times those of the commit. To get the bytes
of a release, build its tag with the same versions of ansible-core and Python. Uncommitted changes are packed as they are.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

from known_files import CHECKOUT, copy_known_files

_FIRST = ("MANIFEST.json", "FILES.json")


def commit_time() -> int:
    """Seconds since the epoch: SOURCE_DATE_EPOCH where it is set, else the commit's."""
    argv = ["git", "log", "-1", "--format=%ct"]
    said = os.environ.get("SOURCE_DATE_EPOCH") or subprocess.check_output(argv, cwd=CHECKOUT, text=True)
    return int(said)


def rewrite(source: pathlib.Path, target: pathlib.Path, when: int) -> None:
    """The archive `source` as `target`, whose bytes depend on nothing but the files, their modes and `when`."""
    with tarfile.open(source) as built:
        members = {member.name: member for member in built.getmembers()}
        contents = {name: built.extractfile(member).read() for name, member in members.items() if member.isfile()}
    files = json.loads(contents["FILES.json"])
    files["files"].sort(key=lambda entry: entry["name"])
    contents["FILES.json"] = _json(files)
    manifest = json.loads(contents["MANIFEST.json"])
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(contents["FILES.json"]).hexdigest()
    contents["MANIFEST.json"] = _json(manifest)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name in [*_FIRST, *sorted(set(members) - set(_FIRST))]:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.linkname = members[name].type, members[name].mode, members[name].linkname
            member.mtime, member.size = when, len(contents.get(name, b""))
            out.addfile(member, io.BytesIO(contents[name]) if name in contents else None)
    target.write_bytes(gzip.compress(packed.getvalue(), mtime=when))


def _json(value: object) -> bytes:
    return json.dumps(value, indent=True).encode()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        staged, built = pathlib.Path(folder, "staged"), pathlib.Path(folder, "built")
        copy_known_files(staged)
        galaxy = pathlib.Path(sys.executable).with_name("ansible-galaxy")
        argv = [galaxy, "collection", "build", staged, "--output-path", built]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        (archive,) = built.iterdir()
        rewrite(archive, out / archive.name, commit_time())
    print(out / archive.name)


if __name__ == "__main__":
    main()
