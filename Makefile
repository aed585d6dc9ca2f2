# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# make harden, audit, report: which hosts (an Ansible inventory), anything else for ansible-playbook;
# CHECK=1 only shows what harden would change.
INVENTORY ?=
CHECK ?=
ARGS ?=
# make scenario: one molecule scenario; make test runs them all.
SCENARIO ?= default
# make matrix: some versions of ansible-core, as 2.16 or newest; by default all that are supported.
VERSIONS ?=

BIN := $(CURDIR)/.venv/bin
COLLECTIONS := $(CURDIR)/playbooks/collections
IN_VENV := PATH="$(BIN):$$PATH" ANSIBLE_COLLECTIONS_PATH="$(COLLECTIONS)"
RELEASES := bullseye bookworm trixie bookworm-sysvinit
SCENARIOS := $(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml))
# One line of progress a stage, with the seconds since make began.
ifndef BEGAN
export BEGAN := $(shell date +%s)
endif
stage = @echo "== $$(($$(date +%s) - $(BEGAN))) s: $(1)"

.PHONY: help harden audit report test test-fast test-hosts lint unit sanity docs docs-lint pictures artifact images scenario browser readme benchmark benchmark-fleet execution-environment java matrix package release-check workflows-lint clean

help:
	@echo "make harden [INVENTORY=hosts.ini] [CHECK=1] [ARGS='-e …']   harden hosts (default: this machine)"
	@echo "make audit [INVENTORY=hosts.ini]   judge hosts by the policy, into JSON, CSV, JUnit XML and OSCAL; fails unless all comply"
	@echo "make report [INVENTORY=hosts.ini]  one page with hosts and sessions"
	@echo "make test         everything, on real hosts that it boots itself (root; Debian or Ubuntu)"
	@echo "make test-fast    what needs no hosts: lint, units, sanity, docs, the artifact"
	@echo "make scenario SCENARIO=$(SCENARIO)   one of: $(SCENARIOS)"
	@echo "make docs         the documentation site, into build/docs/html"
	@echo "make browser      the report in a real browser; screenshots in build/browser"
	@echo "make benchmark    speed on a real host, medians and ratios side by side"
	@echo "make matrix       every ansible-core that is supported, against every managed Python [VERSIONS='2.16 newest']"
	@echo "make package      the artifact for Galaxy, into build/"
	@echo "make benchmark-fleet  what 30 real hosts cost the controller; [HOSTS=6] [RUNS=1]"
	@echo "make execution-environment  an image with this collection for AWX, where a registry can be reached"
	@echo "make readme       write the tables of variables in README.md from the argument specs"
	@echo "make clean        test hosts, build folder and virtual environment"

harden: .venv/controller
	@sh tests/tools/need ssh
	$(BIN)/ansible-playbook $(if $(INVENTORY),--inventory "$(INVENTORY)") $(if $(CHECK),--check --diff) \
	  playbooks/harden.yml $(ARGS)

audit report: .venv/controller
	@sh tests/tools/need ssh
	$(BIN)/ansible-playbook $(if $(INVENTORY),--inventory "$(INVENTORY)") playbooks/$@.yml $(ARGS)

# Waiting is most of what a scenario does, so two run side by side, and the images are built beside the linters.
test:
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-fast images
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-hosts
	$(call stage,all passed)

test-fast: lint unit sanity docs artifact

test-hosts: $(addprefix scenario-,$(SCENARIOS)) browser

lint: .venv/dev workflows-lint
	$(call stage,lint)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary plugins/module_utils/_engine
	@$(BIN)/python tests/tools/readme_tables.py --check
	@HOME="$(CURDIR)/build/home" $(IN_VENV) ansible-lint --offline -q

# GitHub reads these; here their schemas and the holes that such files are known for.
workflows-lint: .venv/dev
	@$(BIN)/zizmor --offline --quiet .github >build/zizmor.log 2>&1 || { cat build/zizmor.log; exit 1; }
	@cd .github && $(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows workflows/*.yml
	@cd .github && $(BIN)/check-jsonschema -q --builtin-schema vendor.dependabot dependabot.yml
	@cd .github/ISSUE_TEMPLATE && $(BIN)/check-jsonschema -q --builtin-schema vendor.github-issue-forms bug.yml feature.yml
	@cd .github/ISSUE_TEMPLATE && $(BIN)/check-jsonschema -q --builtin-schema vendor.github-issue-config config.yml

unit: .venv/dev build/test-data
	$(call stage,unit tests)
	@$(IN_VENV) PYTHONPATH="$(COLLECTIONS)" pytest -q tests/unit

browser: .venv/dev build/test-data
	@sh tests/tools/need browser
	$(call stage,the report in a real browser)
	@$(IN_VENV) PYTHONPATH="$(COLLECTIONS)" pytest -q tests/browser

sanity: .venv/dev
	$(call stage,ansible-test sanity)
	@$(BIN)/python tests/tools/run_ansible_test.py sanity >build/sanity.log 2>&1 || { cat build/sanity.log; exit 1; }
	@grep -c '^Running sanity test' build/sanity.log | sed 's/$$/ sanity tests passed, 0 failed/'

docs-lint: .venv/dev
	$(call stage,documentation)
	@$(IN_VENV) antsibull-docs lint-collection-docs --plugin-docs .
	@$(IN_VENV) antsibull-changelog lint
	@$(BIN)/python tests/tools/release_state.py

# Without warnings, and every link inside leads somewhere; with ONLINE=1 those to elsewhere are asked for, too.
docs: docs-lint
	$(call stage,the documentation site)
	@$(IN_VENV) $(BIN)/python tests/tools/docs_site.py $(if $(ONLINE),--online)

# Those of the documentation, from real hosts; look at them before you commit them.
pictures: .venv/dev images
	@sh tests/tools/need browser
	@$(IN_VENV) $(BIN)/python tests/tools/pictures.py

# Before a tag is published: make release-check TAG=1.0.0
TAG ?=
release-check: .venv/dev
	@$(BIN)/python tests/tools/release_state.py "$(TAG)"

artifact: .venv/dev
	$(call stage,the built artifact)
	@sh tests/tools/try_artifact

# The same commit gives the same bytes.
package: .venv/dev
	@$(BIN)/python tests/tools/build_artifact.py build

images: | build
	@sh tests/tools/need hosts
	@tests/hosts/testhost image $(RELEASES)

# A scenario has hosts of its own.
scenario-%: .venv/dev build/test-data images
	$(call stage,scenario $*)
	@$(IN_VENV) molecule test --scenario-name $*

# Its tests run ansible-rulebook.
scenario-fleets: java

java:
	@sh tests/tools/need java

scenario: scenario-$(SCENARIO)

readme: .venv/dev
	$(BIN)/python tests/tools/readme_tables.py

benchmark: .venv/dev images
	@sh tests/tools/need browser
	@for bench in tests/benchmark/bench_*.py; do \
	  $(IN_VENV) PYTHONPATH="$(COLLECTIONS)" $(BIN)/python $$bench || exit; done

matrix: .venv/dev build/test-data images
	$(call stage,the matrix of versions)
	@$(BIN)/python tests/matrix/matrix.py $(VERSIONS)

benchmark-fleet: .venv/dev images
	@$(IN_VENV) HOSTS="$(HOSTS)" RUNS="$(RUNS)" $(BIN)/python tests/benchmark/fleet.py

execution-environment: .venv/dev
	@$(IN_VENV) sh tests/tools/execution_environment

.venv/controller: requirements.txt
	@sh tests/tools/need venv requirements.txt
	@touch $@

.venv/dev: requirements-dev.txt requirements-test.txt requirements.txt | build
	@sh tests/tools/need venv requirements-dev.txt
	@touch $@

build/test-data: .venv/dev
	@sh tests/tools/need test-data
	@touch $@

build:
	@mkdir -p build

clean:
	[ "$$(id -u)" -ne 0 ] || tests/hosts/testhost down
	rm -rf build .venv
