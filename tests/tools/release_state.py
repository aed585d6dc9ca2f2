# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See that galaxy.yml, the changelog and, where one is given, the tag speak of the same version: `release_state.py [TAG]`.

With a tag the version must have been released (`antsibull-changelog release`) and be the tag, letter by letter.
"""

from __future__ import annotations

import pathlib
import re
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def troubles(root: pathlib.Path, tag: str | None = None) -> t.Iterator[str]:
    """A sentence for each thing that does not agree."""
    version = yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    changelog = yaml.safe_load((root / "changelogs/changelog.yaml").read_text(encoding="utf-8"))
    waiting = sorted(path.name for path in (root / "changelogs/fragments").glob("*.y*ml"))
    if not re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", str(version)):
        yield f"galaxy.yml: the version {version} is not like 1.2.3"
        return
    newest = max(changelog["releases"], key=_number)
    if _number(version) < _number(newest):
        yield f"galaxy.yml has version {version}, and {newest} is released already: raise it"
    if version == newest and waiting:
        yield f"{version} is released, and {', '.join(waiting)} wait for the next: raise the version in galaxy.yml"
    if f"\nv{newest}\n" not in (root / "CHANGELOG.rst").read_text(encoding="utf-8"):
        yield f"CHANGELOG.rst lacks {newest}: run antsibull-changelog generate"
    known = {*changelog["releases"], version}
    for path in sorted([*root.glob("plugins/**/*.py"), *root.glob("roles/*/meta/argument_specs.yml")]):
        named = set(re.findall(r"\bversion_added: ['\"]?([^\s'\"}]+)", path.read_text(encoding="utf-8")))
        for one in sorted(named - known):
            yield f"{path.relative_to(root)}: version_added {one} is neither released nor the version in galaxy.yml"
    if tag is not None and tag != version:
        yield f"the tag {tag} is not the version {version} of galaxy.yml"
    if tag is not None and version != newest:
        yield f"{version} is not in the changelog: run antsibull-changelog release"


def main() -> int:
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    found = list(troubles(ROOT, *sys.argv[1:]))
    for sentence in found:
        print(sentence, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
