# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples that people copy: literal blocks of Markdown and reStructuredText, and the EXAMPLES of plugins.

A comment right before a block may say what a machine cannot know:

    .. not run: WHY                a person has to trust it
    .. tested by: FILE::TEST       another test runs it

In Markdown the same stands between ``<!--`` and ``-->``.
"""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import re
import textwrap
import typing as t

import yaml
from realhosts import CHECKOUT

PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CONTRIBUTING.md",
    *sorted((CHECKOUT / "docs").rglob("*.rst")),
]
_MARK = r"(?P<mark>not run|tested by): (?P<why>.+?)"
_MARKDOWN = re.compile(
    rf"(?:^<!-- {_MARK} -->\n)?^(?P<fence>```+)(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=fence)$", re.M | re.S
)
_RST = re.compile(
    rf"(?:^\.\. {_MARK}\n\n?)?^(?P<indent> *)(?:\.\. (?:code-block|code|sourcecode)::(?P<language>[^\n]*)|(?P<loose>[^.\n ][^\n]*)?::)\n"
    r"(?P<text>(?:(?P=indent)   [^\n]*\n|\s*\n)+)",
    re.M,
)


@dataclasses.dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    tested_by: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def kind(self) -> str:
        """What it is, which tells how it is run.

        Raises:
            ValueError: it is nothing that can be told from its language and its form.
        """
        if self.not_run or self.tested_by:
            return "marked"
        if self.language in ("yaml", "yaml+jinja"):
            return yaml_kind(yaml.safe_load(self.text))
        known = {"console": "console", "text": "output", "ini": "ini"}
        if self.language not in known:
            raise ValueError(f"{self}: nothing runs a block of the language {self.language!r}; say why, or by what")
        return known[self.language]

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console block, each with what is shown as its output."""
        marked = re.search(r"^\$ ", self.text, re.M)
        found: list[tuple[str, str]] = []
        for line in re.sub(r"\\\n\s*", "", self.text).splitlines():
            if line.startswith("$ ") or (not marked and line.strip()):
                found.append((re.sub(r"\s+# .*", "", line.removeprefix("$ ")), ""))
            elif found and line.strip():
                found[-1] = (found[-1][0], found[-1][1] + line + "\n")
        return found


def yaml_kind(data: t.Any) -> str:
    first = data[0] if isinstance(data, list) and data else data
    if isinstance(first, dict):
        if "hosts" in first and "rule" not in first:
            return "playbook"
        if "rule" in first:
            return "waivers"
        if isinstance(data, list):
            return "tasks"
        if set(data) == {"all"}:
            return "inventory"
        if all(key.startswith("session_policy_") for key in data):
            return "policy"
    raise ValueError(f"YAML that is neither a playbook, tasks, an inventory, a policy nor waivers: {data!r}")


def blocks(path: pathlib.Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    pattern = _MARKDOWN if path.suffix == ".md" else _RST
    found = []
    for match in pattern.finditer(text):
        mark = {match["mark"]: match["why"]} if match["mark"] else {}
        found.append(
            Block(
                str(path.relative_to(CHECKOUT)),
                text[: match.start("text")].count("\n") + (1 if text[match.start("text")] != "\n" else 2),
                (match["language"] or "").strip(),
                textwrap.dedent(match["text"]).strip("\n") + "\n",
                mark.get("not run"),
                mark.get("tested by"),
            )
        )
    return found


def all_blocks() -> list[Block]:
    return [block for path in PAGES for block in blocks(path)]


def plugin_examples(folder: str) -> dict[str, str]:
    """EXAMPLES of each plugin in a folder, read without importing it."""
    found = {}
    for path in sorted((CHECKOUT / "plugins" / folder).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
                found[path.stem] = ast.literal_eval(node.value)
    return found


def shape(line: str) -> str:
    """A pattern of all lines like this one: the words as they are; numbers, times, addresses and shortened paths not."""

    def word(text: str) -> str:
        if text.startswith("..."):
            return r"\S*"
        if re.search(r"\d", text):
            return r"\S+"
        return re.escape(text)

    return r"\s+".join(map(word, line.split()))


def missing(shown: str, real: str) -> list[str]:
    """Lines of what is shown that no line of the real output is like; `...` alone stands for anything."""
    said = real.replace("\\\\", "\\").replace('\\"', '"')
    return [line for line in shown.splitlines() if line.strip() not in ("", "...") and not re.search(shape(line), said)]
