# make demo: from a bare machine to a scored model.   make test: everything that a change has to pass.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Thousands of processes of Ansible would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

TOOLS := .venv/.installed
DOCS_TOOLS := .venv/.installed-for-docs

.PHONY: help
help: ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: setup ## Fresh machine to a scored model, in a lab on this computer that stays up (again: changes nothing)
	@ansible-playbook playbooks/lab_up.yml playbooks/demo.yml
	@cat reports/demo/summary.txt

.PHONY: down
down: setup ## Remove the demo's lab
	@ansible-playbook playbooks/lab_down.yml

# The long ones first.
RUNS := integration roles molecule-default rehearsal-plain
# What has no room in the time of make test.
LONG_RUNS := molecule-offline_scoring molecule-serving molecule-backup molecule-lifecycle molecule-lifecycle_stores molecule-move_store test-awx molecule-two_hosts molecule-stores molecule-mode_remote molecule-mode_local molecule-mlflow_2 molecule-mlflow_3 molecule-model_stacks molecule-uninstall data-sets rehearsal lookalikes selinux cores real-stacks docs
SCENARIOS := $(patsubst molecule-%,%,$(filter molecule-%,$(RUNS) $(LONG_RUNS)))
# Three at a time: a run in a lab waits a good part of its time. What it needs is made in a step before: make would start last what waits for that.
AT_ONCE := $(MAKE) --no-print-directory --jobs 3 --output-sync=target
.PHONY: test
test: setup ## What a change has to pass: lint, sanity, unit, roles, integration, the main path, the archive at a plain site
	@$(AT_ONCE) images unit lint sanity
	@$(AT_ONCE) LAB= IMAGES= PREPARED=true $(RUNS)

.PHONY: test-long
test-long: setup ## The rest: offline scoring, serving, backups, AWX, deploy modes, stores, several hosts, uninstalling, five data sets, sites, look-alikes, SELinux, cores, stacks, documentation
	@$(AT_ONCE) images
	@$(AT_ONCE) LAB= IMAGES= PREPARED=true $(LONG_RUNS)

# Each is a playbook of tests/bench, and leaves its figures in reports/bench/<name>.json.
BENCHES ?= cold_host no_change many_hosts settings serving bare_serving batch_scoring artifacts
# How many rounds, hosts, rows: for example '-e bench_rounds=1 -e bench_hosts=4'. What a bench takes stands in its playbook.
BENCH_OPTIONS ?=
# What needs no lab, or makes its own: these come first, while nothing else runs.
BENCHES_ALONE := $(filter cold_host many_hosts settings,$(BENCHES))
BENCHES_IN_LAB := $(filter-out $(BENCHES_ALONE),$(BENCHES))
.PHONY: bench
bench: setup ## Two things compared in one run, as one table (reports/bench/bench.{md,json}), see docs/performance.md; one of them: BENCHES=serving
	@rm -f reports/bench/*.json reports/bench/bench.md
	@export LAB_NAME=bench; failed=0; \
	  measure() { for bench; do ansible-playbook tests/bench/$$bench.yml $(BENCH_OPTIONS) || failed=1; done; }; \
	  measure $(BENCHES_ALONE); \
	  $(if $(BENCHES_IN_LAB),trap 'ansible-playbook playbooks/lab_down.yml' EXIT; \
	  ansible-playbook playbooks/lab_up.yml playbooks/mlflow.yml playbooks/lab_model.yml; \
	  measure $(BENCHES_IN_LAB);) \
	  python tests/bench/table.py reports/bench $(BENCHES); \
	  exit $$failed

.PHONY: lint
lint: setup ## ansible-lint (production profile), yamllint, ruff, the changelog's fragments
	ruff check
	yamllint --strict .
	antsibull-changelog lint
	ansible-lint -q

# -rs: a core that no Python of this computer can run is named.
.PHONY: cores
cores: setup ## The built archive on each ansible-core that is claimed: plugins, playbooks, preflights, sanity
	pytest -rs tests/cores

.PHONY: real-stacks
real-stacks: setup ## The stacks of MLflow 2 and 3 as they are installed: the server with its guard, published requests, a client, a served model
	pytest -rs tests/stacks

.PHONY: sanity
sanity: setup ## The built archive: imported as Galaxy does, then installed, for ansible-test sanity
	tests/sanity/import
	tests/sanity/run

.PHONY: readmes
readmes: setup ## README.md of each role, made from its argument spec
	python tests/role_readmes.py

# Pages of roles, modules and filters come from argument specs and DOCUMENTATION. Links within the site are checked, plugins of the collections that this one
# depends on are looked up in what is installed; addresses on the web are not asked.
.PHONY: docs
docs: $(DOCS_TOOLS) ## Documentation site, in reports/docs: roles, modules, filters, documents; what is worth a warning fails
	antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs dependent --disallow-unknown-collection-refs --skip-rstcheck .
	@rm -rf .cache/docs reports/docs && mkdir -p .cache/docs/reference
	antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --dest-dir .cache/docs/reference sparkflows.mlops
	@cp -r .config/docs/index.md README.md CHANGELOG.rst CONTRIBUTING.md SECURITY.md docs .cache/docs
	sphinx-build --quiet --jobs 2 --fail-on-warning --keep-going -c .config/docs .cache/docs reports/docs
	@echo 'reports/docs/index.html: links within the site lead somewhere; addresses on the web were not asked.'

.PHONY: unit
unit: setup ## Unit tests
	pytest tests/unit

.PHONY: roles
roles: setup ## Roles on this computer, against doubles of Sparkflows and AWX
	pytest tests/roles

# Once, before labs are made side by side: targets in the lab need one of these.
LAB := lab
IMAGES := images
# Whether scenarios may start from the machines that images has prepared. The scenarios default and uninstall, integration and test-awx start from bare ones, as everything does by hand.
PREPARED := false
.PHONY: lab
lab: setup ## What all labs share: Docker engine, image, artifacts
	@ansible-playbook playbooks/lab_up.yml --tags shared

.PHONY: images
images: lab ## What takes long to build and serves several labs: scorer image, execution environment, machines with JDK and release
	@ansible-playbook --inventory inventories/lab --inventory inventories/awx tests/lab/images.yml
	@LAB_NAME=preparation ansible-playbook tests/lab/prepared.yml

.PHONY: integration
integration: $(IMAGES) ## Playbook runs on bad input, on a killed run, with secrets that must not be seen
	pytest tests/integration

.PHONY: data-sets
data-sets: $(IMAGES) ## Five data sets through all offline methods
	pytest tests/long

.PHONY: rehearsal
rehearsal: $(LAB) ## The archive at sites as people have them, with nothing but README, documents and SSH
	pytest tests/rehearsal

rehearsal-%: $(LAB)
	pytest tests/rehearsal -k $*

.PHONY: lookalikes
lookalikes: $(LAB) ## site.yml on machines with names, paths and package manager of Rocky Linux, Oracle Linux and Ubuntu
	pytest tests/lookalikes

.PHONY: selinux
selinux: $(LAB) ## The proxy on a virtual machine in which SELinux is enforcing
	pytest tests/selinux

ARCHIVE_DIR := .
.PHONY: archive
archive: setup ## The collection's archive
	ansible-galaxy collection build --force --output-path "$(ARCHIVE_DIR)"

.PHONY: test-awx
test-awx: $(IMAGES) ## The job templates of awx/ launched in the lab as AWX launches them, and the execution environment
	LAB_NAME=awx pytest tests/awx

.PHONY: molecule
molecule: $(SCENARIOS:%=molecule-%) ## All Molecule scenarios; one of them: make molecule-default

.PHONY: $(SCENARIOS:%=molecule-%)
$(SCENARIOS:%=molecule-%): molecule-%: $(LAB)
	molecule test --scenario-name $* --report
molecule-offline_scoring: $(IMAGES)
$(patsubst %,molecule-%,$(filter-out default uninstall,$(SCENARIOS))): export LAB_PREPARED = $(PREPARED)

.PHONY: setup
setup: $(TOOLS)

# The distribution's own. The lock has the newest core that it can run, up from 3.12 the newest of all; another one: make setup PYTHON=python3.13.
# One that was built at home, without a profile, takes half as long again for the same tests.
PYTHON := python3
# Debian keeps venv in a package of its own. uv comes first: it installs the rest in seconds.
# Ansible holds many objects and forks for each task: Python's default collects garbage so often there that it takes a fifth of the time.
$(TOOLS): .config/dev-requirements.txt
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv; }
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement <(sed -n '/^uv==/,/[^\\]$$/p' $<)
	@.venv/bin/uv pip install --quiet --require-hashes --python .venv/bin/python --requirement $<
	@echo 'import gc; gc.set_threshold(100_000, 50)' >$$(.venv/bin/python -c 'import site; print(*site.getsitepackages())')/rare_garbage_collection.pth
	@.venv/bin/python -c 'from importlib.metadata import version; import platform; print("Python", platform.python_version() + ":", "ansible-core", version("ansible-core"))'
	@touch $@

$(DOCS_TOOLS): .config/docs-requirements.txt $(TOOLS)
	@uv pip install --quiet --require-hashes --python .venv/bin/python --requirement $<
	@touch $@

# For the Python that the stack names, and with what it lets packages be built with.
define LOCK_STACK
python -c 'import sys, yaml; print(*yaml.safe_load(open(sys.argv[1] + "/stack.yml"))["packages"], sep="\n")' $$stack \
  | uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate --no-header \
    --python-version $$(python -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1] + "/stack.yml"))["python"])' $$stack) \
    --build-constraints $$stack/build-constraints.txt --output-file $$stack/requirements.txt -
endef

# One stack alone: make lock STACK=mlflow-2, or the folder of one of your own.
STACK :=
.PHONY: lock
lock: setup ## Renew the locks of the development tools and of the stacks; of one stack alone: make lock STACK=mlflow-2, or a folder
ifeq ($(STACK),)
	uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate --no-header --universal --python-version 3.11 \
	  --output-file .config/dev-requirements.txt .config/dev-requirements.in
	sed -n '/^uv==/,/[^\]$$/p' .config/dev-requirements.txt >roles/mlflow_runtime/files/uv.txt
	uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 \
	  --constraint .config/dev-requirements.txt --output-file .config/docs-requirements.txt .config/docs-requirements.in
endif
	for stack in $(or $(if $(STACK),$(firstword $(wildcard stacks/$(STACK)) $(STACK))),stacks/*); do $(LOCK_STACK); done
