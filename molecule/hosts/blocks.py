# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples that people copy: literal blocks of Markdown and reStructuredText, and the EXAMPLES of plugins.

A comment right before a block may say what a machine cannot know:

    .. not run: WHY                nothing here can run it
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
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((CHECKOUT / "docs").rglob("*.rst")),
]
_MARKDOWN = re.compile(
    r"(?:^<!-- (?P<mark>not run|tested by): (?P<why>(?:(?!-->).)+?) -->\n\n?)?"
    r"^(?P<fence>```+)(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=fence)$",
    re.M | re.S,
)
_RST = re.compile(
    r"(?:^(?P<at> *)\.\. (?P<mark>not run|tested by): (?P<why>[^\n]+(?:\n(?P=at) +\S[^\n]*)*)\n\n?)?"
    r"^(?P<indent> *)(?:\.\. (?:code-block|code|sourcecode)::(?P<language>[^\n]*)|(?P<loose>(?!\.\. )\S[^\n]*)?::)\n"
    r"(?P<options>(?:(?P=indent)   :[a-z-]+:[^\n]*\n)*)"
    r"(?P<text>(?:(?P=indent) +\S[^\n]*(?:\n|\Z)|[ ]*\n)+)",
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
        """The commands of a console block, each with what is shown as its output, which only `$` tells apart."""
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


def blocks_of(text: str, page: str) -> list[Block]:
    """The blocks of a page in their order; its name tells Markdown from reStructuredText."""
    found = []
    for match in (_MARKDOWN if page.endswith(".md") else _RST).finditer(text):
        mark = {match["mark"]: " ".join(match["why"].split())} if match["mark"] else {}
        blank = re.match(r"\s*\n|", match["text"]).group().count("\n")
        found.append(
            Block(
                page,
                text.count("\n", 0, match.start("text")) + 1 + blank,
                (match["language"] or "").strip(),
                textwrap.dedent(match["text"]).strip("\n") + "\n",
                mark.get("not run"),
                mark.get("tested by"),
            )
        )
    return found


def blocks(path: pathlib.Path) -> list[Block]:
    return blocks_of(path.read_text(encoding="utf-8"), str(path.relative_to(CHECKOUT)))


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


#: Words of an output that are others at every run; all else has to be what is shown.
_FREE = [
    r"\d+(?:\.\d+){3}",  # addresses
    r"(?:\d+[dhms])+",
    r"\d{4}-\d\d-\d\d",
    r"\d\d:\d\d:\d\d",
    r"pts/\d+",
]


def shape(line: str) -> str:
    """A pattern of what a real line has to be for this one to be shown: no word more, no number another."""

    def word(shown: str) -> str:
        for free in _FREE:
            if re.fullmatch(free, shown):
                return free
        return r"\S+" + re.escape(shown.removeprefix("...")) if shown.startswith("...") else re.escape(shown)

    return r"\s+".join(map(word, line.split()))


def said(output: str) -> list[str]:
    """The lines of an output; of Ansible's, those of the texts that it shows in quotes."""
    quoted = (re.fullmatch(r'\s*"(.*)",?', line) for line in output.splitlines())
    pairs = zip(output.splitlines(), quoted)
    return [re.sub(r"\\(.)", r"\1", match[1]).strip() if match else line.strip() for line, match in pairs]


def missing(shown: str, output: str) -> list[str]:
    """The lines of what is shown that the output does not have, in this order; `...` alone stands for any."""
    real = iter(said(output))
    wanted = [line for line in shown.splitlines() if line.strip() not in ("", "...")]
    return [line for line in wanted if not any(re.fullmatch(shape(line), one) for one in real)]
