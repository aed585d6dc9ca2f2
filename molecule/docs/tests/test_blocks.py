# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""That no example is overlooked, and that an output which differs from what is shown is noticed."""

from __future__ import annotations

import pathlib

import docutils.core
import docutils.nodes
import markdown_it
import pytest
from blocks import PAGES, blocks, blocks_of, missing, shape
from docutils.parsers.rst import Directive, directives
from sphinx.directives.code import CodeBlock

MARKDOWN = """
# Title

    indented, and no fence

<!-- not run: it is
     long -->

```console
$ one \\
    more   # why
  said
$ two
```
<!-- something else -->
~~~
tildes
~~~
````text
```
inner
```
````
"""
RST = """
Title
=====

.. not run: it is
   long
.. code-block:: console
   :caption: Here

   one
   two

A paragraph with an end::

     five deep

       and deeper

* a list

  .. tested by: FILE::TEST
  .. code-block:: yaml

     - a: 1

  .. code-block:: text

     at the end"""


class Code(Directive):
    """Sphinx's directive with its options, without all that Sphinx needs around it."""

    has_content = True
    optional_arguments = 1
    option_spec = CodeBlock.option_spec

    def run(self) -> list[docutils.nodes.Node]:
        return [docutils.nodes.literal_block(text="\n".join(self.content))]


for name in ("code-block", "code", "sourcecode"):
    directives.register_directive(name, Code)


def literal(text: str, page: str) -> list[str]:
    """The literal blocks that a real parser of the language finds."""
    if page.endswith(".md"):
        tokens = markdown_it.MarkdownIt("commonmark").parse(text)
        return [token.content for token in tokens if token.type in ("fence", "code_block")]
    quiet = {"report_level": 5, "halt_level": 6}
    tree = docutils.core.publish_doctree(text, settings_overrides=quiet)
    # What docutils does not know are Sphinx's words; it shows those as they stand.
    unknown = [node.astext() for node in tree.findall(docutils.nodes.system_message) if "directive" in node.astext()]
    assert not [said for said in unknown if "::\n\n" in said or "literalinclude" in said], unknown
    found = [
        node.astext()
        for node in tree.findall(docutils.nodes.literal_block)
        if not isinstance(node.parent, docutils.nodes.system_message)
    ]
    return [f"{one}\n" for one in found]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_block_of_a_page_is_overlooked(path: pathlib.Path) -> None:
    assert [block.text for block in blocks(path)] == literal(path.read_text(), path.name)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_something_can_run_each_block(path: pathlib.Path) -> None:
    assert all(block.kind for block in blocks(path))


def test_the_parser_of_a_page_finds_what_is_no_fence() -> None:
    """So that a page with such a block fails, instead of being run without it."""
    assert "indented, and no fence\n" in literal(MARKDOWN, "a.md") and "tildes\n" in literal(MARKDOWN, "a.md")
    with pytest.raises(AssertionError):
        literal("Title\n=====\n\n.. literalinclude:: other.yml\n", "a.rst")
    with pytest.raises(AssertionError):
        literal("Title\n=====\n\n.. tabs::\n\n   .. code-block:: yaml\n\n      a: 1\n", "a.rst")


def test_blocks_of_markdown() -> None:
    one, nested = blocks_of(MARKDOWN, "a.md")
    assert (one.line, one.language, one.not_run, one.kind) == (10, "console", "it is long", "marked")
    assert one.commands == [("one more", "  said\n"), ("two", "")]
    assert (nested.text, nested.not_run, nested.kind) == ("```\ninner\n```\n", None, "output")


def test_blocks_of_restructuredtext() -> None:
    found = blocks_of(RST, "a.rst")
    assert [block.text for block in found] == literal(RST, "a.rst")
    assert [block.line for block in found] == [10, 15, 24, 28]
    assert [(block.not_run, block.tested_by) for block in found] == [
        ("it is long", None), (None, None), (None, "FILE::TEST"), (None, None)]  # fmt: skip
    assert found[0].commands == [("one", ""), ("two", "")]


@pytest.mark.parametrize("block", ["```bash\nls\n```\n", "```\nls\n```\n", "```yaml\nworld: 1\n```\n"])
def test_a_block_of_no_known_kind_is_refused(block: str) -> None:
    (found,) = blocks_of(block, "a.md")
    with pytest.raises(ValueError):
        assert found.kind


SAID = r"""
ok: [web1] => {
    "msg": [
        "USER   AT     FROM       IDLE  OUTCOME     WHY",
        "alice  pts/0  10.88.0.1  1m4s  terminated  \"idle\"",
        "  bash  900  /etc/profile.d/some-policy.sh:9"
    ]
}
"""


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("alice  pts/3  192.0.2.7  1h2m  terminated  \"idle\"", True),
        ("alice  pts/3  192.0.2.7  1h2m  skipped  \"idle\"", False),
        ("alice  pts/3  192.0.2.7  1h2m  terminated", False),
        ("alice  tty/3  192.0.2.7  1h2m  terminated  \"idle\"", False),
        ("bash  900  ...-policy.sh:9", True),
        ("bash  600  ...-policy.sh:9", False),
        ("bash  900  ...-policy.sh:8", False),
        ("...", True),
    ],
)  # fmt: skip
def test_what_is_shown_has_to_be_said(line: str, same: bool) -> None:
    assert missing(line, SAID) == ([] if same else [line])


def test_the_order_of_what_is_shown_counts() -> None:
    head, alice = SAID.splitlines()[3:5]
    shown = 'USER AT FROM IDLE OUTCOME WHY\n...\nalice pts/9 192.0.2.1 3h terminated "idle"\n'
    assert missing(shown, SAID) == []
    assert missing(shown, SAID.replace(head, "").replace(alice, f"{alice}\n{head}")) != []


def test_every_kind_of_a_word_that_differs_at_each_run_is_one() -> None:
    assert shape("2026-01-31 08:15:02 90s").count("\\d") > 3 and shape("2026 8:15") == r"2026\s+8:15"
