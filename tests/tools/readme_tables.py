# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the tables that README.md and the documentation show between their markers, from where each of them comes from.

``<!-- BEGIN variables ROLE -->`` is filled from the role's meta/argument_specs.yml, ``<!-- BEGIN profiles -->`` from the
umbrella role's profiles, ``<!-- BEGIN playbooks -->`` from the heads of the playbooks and ``<!-- BEGIN matrix -->`` from
what `make matrix` ran; what stood between that and the ``<!-- END ... -->`` of the same words goes. In reStructuredText
the markers are ``.. BEGIN ...`` and ``.. END ...``.
With --check nothing is written, and a table that is not as it should be is an error.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", ROOT / "docs/docsite/rst/reference.rst"]
_BLOCKS = {
    ".md": re.compile(r"(<!-- BEGIN (.+?) -->\n).*?(<!-- END \2 -->)", re.DOTALL),
    ".rst": re.compile(r"(^\.\. BEGIN (.+?)\n).*?(^\.\. END \2$)", re.DOTALL | re.MULTILINE),
}
_MARKUP = re.compile(r"\b([CVOMIBPE])\(([^()]*(?:\([^()]*\)[^()]*)*)\)")


def plain(text: str) -> str:
    """Ansible's documentation markup as Markdown, fit for a cell."""

    def replace(found: re.Match[str]) -> str:
        kind, inner = found.groups()
        return {"I": f"*{inner}*", "B": f"**{inner}**"}.get(kind, f"`{inner}`")

    return _MARKUP.sub(replace, " ".join(text.split())).replace("|", "\\|")


def table(head: list[str], rows: list[list[str]], form: str) -> str:
    if form == ".rst":
        lines = ["\n.. list-table::", "   :header-rows: 1", ""]
        for row in [head, *rows]:
            # One backquote is Markdown's literal, two are reStructuredText's.
            cells = [cell.replace("`", "``") for cell in row]
            lines += [f"   {'*' if at == 0 else ' '} - {cell}".rstrip() for at, cell in enumerate(cells)]
        return "\n".join(lines) + "\n\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def playbooks(root: pathlib.Path, form: str) -> str:
    """Each playbook's own words about itself: the comment at its head, the lines of commands apart from the sentences."""
    rows = []
    for path in sorted((root / "playbooks").glob("*.yml")):
        head = path.read_text(encoding="utf-8").partition("\n---\n")[2]
        said = [line[2:] for line in head.splitlines() if line.startswith("# ")]
        calls = [line.partition("     ")[0] for line in said if line.startswith("ansible-playbook ")]
        text = " ".join(line for line in said if not line.startswith("ansible-playbook "))
        rows.append([f"`sessionops.policy.{path.stem}`", ", ".join(f"`{call}`" for call in calls), text])
    return table(["Playbook", "Call", "What to know"], rows, form)


def variables(root: pathlib.Path, role: str, form: str) -> str:
    spec = yaml.safe_load((root / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    rows = []
    for name, option in spec["argument_specs"]["main"]["options"].items():
        described = option["description"]
        text = plain(" ".join(described) if isinstance(described, list) else described)
        if option.get("choices"):
            text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        default = option.get("default")
        rows.append([f"`{name}`", "" if default is None else f"`{_yaml(default)}`", text])
    return table(["Variable", "Default", "Meaning"], rows, form)


def profiles(root: pathlib.Path, form: str) -> str:
    folder = root / "roles" / "session_policy" / "vars" / "profiles"
    data = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["session_policy__profile"]
        for path in sorted(folder.glob("*.yml"))
    }
    settings = dict.fromkeys(name for profile in data.values() for name in profile["settings"])
    rows = [["layers", *(", ".join(profile["layers"]) for profile in data.values())]]
    rows += [[f"`{name}`", *(_value(profile["settings"].get(name)) for profile in data.values())] for name in settings]
    return table(["", *(f"`{name}`" for name in data)], rows, form)


def matrix(root: pathlib.Path, form: str) -> str:
    """The lines of tests/matrix/results.json; a star marks what ansible-core itself does not list as supported."""
    lines = list(json.loads((root / "tests/matrix/results.json").read_text(encoding="utf-8")).values())
    names = {"bullseye": "Debian 11", "bookworm": "Debian 12", "trixie": "Debian 13"}
    star = " \\*"
    rows = []
    for line in lines:
        hosts = [
            f"{one['python']}{'' if one['listed'] else star}: {one['contracts']}" for one in line["managed"].values()
        ]
        rows.append([line["ansible_core"], line["python"], line["unit_tests"], line["playbooks"], *hosts, line["date"]])
    head = [
        "ansible-core",
        "on Python",
        "unit tests",
        "playbooks",
        *(names[image] for image in lines[0]["managed"]),
        "ran",
    ]
    return table(head, [[str(cell) for cell in row] for row in rows], form)


TABLES = {"matrix": matrix, "playbooks": playbooks, "profiles": profiles}


def _value(entry: dict | None) -> str:
    if entry is None:
        return ""
    value = entry["value"]
    if not isinstance(value, dict):
        return str(value)
    others = [f"{key.replace('family-', '')}: {one}" for key, one in value.items() if key != "default"]
    return f"{value['default']} ({', '.join(others)})"


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def fill(text: str, root: pathlib.Path = ROOT, form: str = ".md") -> str:
    """`text` with every table between markers made anew; `form` is the suffix of its file's name.

    Raises:
        ValueError: a marker names no table.
    """

    def replace(found: re.Match[str]) -> str:
        begin, what, end = found.groups()
        kind, _blank, role = what.partition(" ")
        if kind == "variables" and (root / "roles" / role / "meta" / "argument_specs.yml").is_file():
            return begin + variables(root, role, form) + end
        if what in TABLES:
            return begin + TABLES[what](root, form) + end
        raise ValueError(f"there is no table {what!r}: write 'variables ROLE' or one of {', '.join(TABLES)}")

    return _BLOCKS[form].sub(replace, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether the tables are as they should be")
    parser.add_argument("file", nargs="*", type=pathlib.Path, default=FILES)
    options = parser.parse_args()
    return max(bring(path, options.check) for path in options.file)


def bring(path: pathlib.Path, check: bool) -> int:
    """The exit status for one file."""
    text = path.read_text(encoding="utf-8")
    try:
        filled = fill(text, form=path.suffix)
    except ValueError as exc:
        print(f"{path}: {exc}", file=sys.stderr)
        return 2
    if filled == text:
        return 0
    if check:
        print(f"{path}: the tables are out of date: run make readme", file=sys.stderr)
        return 1
    path.write_text(filled, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
