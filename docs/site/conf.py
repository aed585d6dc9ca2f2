# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx settings of the documentation site; tests/tools/docs_site.py builds it."""

from __future__ import annotations

project = "sessionops.policy"
copyright = "2026, the sessionops.policy authors"
title = html_title = html_short_title = "sessionops.policy"

extensions = ["sphinx_antsibull_ext"]
html_theme = "sphinx_ansible_theme"
html_theme_options = {"display_version": False, "topbar_links": {}}
html_context = {
    "display_github": True,
    "github_user": "sessionops",
    "github_repo": "policy",
    "github_version": "main",
    "conf_py_path": "/docs/docsite/rst/",
}
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
highlight_language = "text"
default_role = "any"
nitpicky = True
smartquotes = False
