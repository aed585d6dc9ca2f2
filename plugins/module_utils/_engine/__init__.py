# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, judge, act, prove: the engine, standard library only, no Ansible.

It runs on managed hosts (Python 3.8 and later), inside modules and alone.
"""
