# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx settings of the documentation site; tests/tools/docs_site.py builds it."""

from __future__ import annotations

from docutils import nodes

project = "sessionops.policy"
copyright = "2026, the sessionops.policy authors"
title = html_title = html_short_title = "sessionops.policy"

extensions = ["sphinx_antsibull_ext", "sphinxcontrib.asciinema"]
html_theme = "sphinx_ansible_theme"
html_theme_options = {
    "display_version": False,
    "documentation_home_url": "https://github.com/sessionops/policy",
}
# Its link to edit a page would lead nowhere for those that are generated.
html_context = {"display_github": False}
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
highlight_language = "text"
default_role = "any"
nitpicky = True
smartquotes = False

# Where the generated reference refers to Ansible's own documentation, whose index would have to be fetched.
ANSIBLE = "https://docs.ansible.com/ansible/latest/"
LABELS = {
    "action_plugins": "plugins/action.html#action-plugins",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values",
}


def ansibles_own(_app, _environment, node, content):
    """The link for a label that this site does not have, or None."""
    if node.get("reftype") != "ref" or node["reftarget"] not in LABELS:
        return None
    return nodes.reference("", "", content, refuri=ANSIBLE + LABELS[node["reftarget"]], internal=False)


def setup(app):
    app.connect("missing-reference", ansibles_own)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
