# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The survey for AWX asks for what the role takes, and every answer that it lets pass is a policy."""

from __future__ import annotations

import json
import pathlib

import pytest
import yaml
from ansible_collections.sessionops.policy.plugins.module_utils._engine.policy import resolve
from ansible_collections.sessionops.policy.plugins.plugin_utils._profiles import read_profiles

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
ROLE = CHECKOUT / "roles/session_policy"
SURVEY = json.loads((CHECKOUT / "extensions/awx/survey_harden.json").read_text())
OPTIONS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text()) or {}
# The kinds of questions that AWX has.
KINDS = {"text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"}
# What can be asked for with an option of a type.
ASKS = {"str": {"text", "multiplechoice"}, "raw": {"text", "integer"}, "list": {"multiselect"}}

by_variable = pytest.mark.parametrize("question", SURVEY["spec"], ids=lambda question: question["variable"])


def errors(question: dict, answer: object) -> list[str]:
    """What is wrong with a policy that has the defaults of the survey but for one answer."""
    answers = {q["variable"]: q["default"] for q in SURVEY["spec"]} | {question["variable"]: answer}
    chosen = {name.removeprefix("session_policy_"): value for name, value in answers.items()}
    return resolve(read_profiles(ROLE / "vars/profiles"), chosen).errors


def test_it_is_a_survey():
    assert set(SURVEY) == {"name", "description", "spec"}
    keys = {"question_name", "question_description", "required", "type", "variable", "choices", "default", "min", "max"}
    assert all(set(question) == keys and question["type"] in KINDS for question in SURVEY["spec"])
    variables = [question["variable"] for question in SURVEY["spec"]]
    assert len(set(variables)) == len(variables)


@by_variable
def test_its_types_are_what_awx_takes(question):
    """As its API checks a survey: a default of the question's type or an empty text, limits that are whole numbers."""
    kind = int if question["type"] == "integer" else str
    assert question["default"] == "" or isinstance(question["default"], kind)
    assert all(question[limit] is None or isinstance(question[limit], int) for limit in ("min", "max"))
    assert isinstance(question["required"], bool)
    assert question["type"] != "multiplechoice" or question["default"] in question["choices"]


@by_variable
def test_the_role_has_the_variable(question):
    option = OPTIONS[question["variable"]]
    assert question["type"] in ASKS[option["type"]]
    assert (question["choices"] or None) == option.get("choices")


@by_variable
def test_its_default_is_the_role_s(question):
    option = OPTIONS[question["variable"]]
    assert (question["default"] if question["default"] != "" else None) == option.get("default")
    assert DEFAULTS.get(question["variable"]) in (None, option.get("default"))
    # AWX says nothing of an answer that is missing; the role must have a value then.
    assert question["required"] == ("default" in option)


@by_variable
def test_it_lets_pass_what_the_role_takes(question):
    if question["type"] == "integer":
        answers = [question["min"], question["max"], question["default"]]
    else:
        answers = question["choices"] or ["", "15m", "1h30m", "900", "none", "0"]
    assert [errors(question, answer) for answer in answers] == [[]] * len(answers)
    for text in [answer for answer in answers if question["type"] == "text"]:
        assert question["min"] <= len(text) <= question["max"]


@by_variable
def test_it_stops_what_the_role_refuses(question):
    if question["variable"] == "session_policy_client_alive_count_max":
        # 0 depends on the host: OpenSSH before 8.2 takes it.
        assert question["min"] == 1
        return
    assert errors(question, {"integer": (question["min"] or 0) - 1}.get(question["type"], "soon"))
