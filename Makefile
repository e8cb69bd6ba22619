# Countersign: building, testing, showing. `make help` lists what there is.
#
# Everything is built once, in the release profile and in one target directory: what is tested is what is
# shipped. The programs that belong together are staged in target/stage.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
STAGE := $(abspath $(TARGET)/stage)
# Scenarios wait more than they compute: more of them run at a time than there are processors.
SCENARIO_THREADS ?= 6

export COUNTERSIGN_STAGE := $(STAGE)

# Where `make install` puts things; DESTDIR stands before all of it.
prefix ?= /usr
PAM_DIR ?= $(firstword $(wildcard /usr/lib/$(shell uname -m)-linux-gnu/security /usr/lib64/security))
UNIT_DIR ?= $(prefix)/lib/systemd/system
INSTALLED = $(prefix)/libexec/countersignd $(prefix)/bin/countersign $(PAM_DIR)/pam_countersign.so \
    $(UNIT_DIR)/countersignd.service $(UNIT_DIR)/countersignd.socket \
    $(prefix)/lib/sysusers.d/countersign.conf $(prefix)/lib/tmpfiles.d/countersign.conf \
    $(prefix)/share/dbus-1/system.d/org.countersign.Countersign1.conf \
    $(prefix)/share/polkit-1/actions/org.countersign.policy

.PHONY: help deps build install uninstall lint test test-fast test-units test-scenarios torture demo clean

help: ## What can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install what building, testing and the demo need (Debian 12, as root, with Rust there)
	@packaging/dev/install-dependencies

build: ## Build the daemon, the module and the tool, and stage them in target/stage
	@packaging/dev/stage "$(STAGE)"

install: build ## Install what was built (as root; DESTDIR, prefix); changes no PAM file and starts nothing
	@test -n "$(PAM_DIR)" || { echo "No PAM module directory is known here: set PAM_DIR=…" >&2; exit 1; }
	install -D -s -m 0755 "$(STAGE)/countersignd" "$(DESTDIR)$(prefix)/libexec/countersignd"
	install -D -s -m 0755 "$(STAGE)/countersign" "$(DESTDIR)$(prefix)/bin/countersign"
	install -D -s -m 0644 "$(STAGE)/pam_countersign.so" "$(DESTDIR)$(PAM_DIR)/pam_countersign.so"
	install -D -m 0644 -t "$(DESTDIR)$(UNIT_DIR)" packaging/systemd/countersignd.service packaging/systemd/countersignd.socket
	install -D -m 0644 -t "$(DESTDIR)$(prefix)/lib/sysusers.d" packaging/sysusers.d/countersign.conf
	install -D -m 0644 -t "$(DESTDIR)$(prefix)/lib/tmpfiles.d" packaging/tmpfiles.d/countersign.conf
	install -D -m 0644 -t "$(DESTDIR)$(prefix)/share/dbus-1/system.d" packaging/dbus/org.countersign.Countersign1.conf
	install -D -m 0644 -t "$(DESTDIR)$(prefix)/share/polkit-1/actions" packaging/polkit/org.countersign.policy

uninstall: ## Remove what was installed, not the state; first take the module out of the PAM files
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))

lint: ## Formatting, clippy, documentation, licences; nothing may be left to say
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    $(CARGO) deny --all-features check licenses bans sources; \
	else \
	    echo "cargo-deny is not installed: licences and sources are not checked here"; \
	fi

test: deps lint build test-units test-scenarios ## All tiers: what CI runs
	@echo "All tiers passed: rules, daemon, module and tool; scenarios on scratch hosts."

test-fast: ## The tiers that need no scratch host, for every save
	$(CARGO) test --locked -p pam-module
	$(CARGO) test --locked --workspace --exclude pam-module --exclude scenarios

# The module is built and tested alone: see packaging/dev/stage.
test-units:
	@echo "== Tiers 1 to 3: rules, the daemon's interfaces, the tool; the module under libpam"
	$(CARGO) test --locked --release -p pam-module
	$(CARGO) test --locked --release --workspace --exclude pam-module --exclude scenarios

test-scenarios:
	@echo "== Tier 4: real sshd, sudo and su on scratch hosts"
	$(CARGO) test --locked --release --workspace --exclude pam-module --test scenarios -- \
	    --test-threads=$(SCENARIO_THREADS)

# 200 rounds, or as many as begin within SECONDS; SEED plays a plan again.
torture: deps build ## kill -9 at random under load; SECONDS=600 for longer, SEED=N for the same plan
	@$(if $(SEED),SCENARIO_SEED=$(SEED)) $(CARGO) run --locked --release --quiet -p scenarios --bin torture -- \
	    $(if $(SECONDS),--seconds $(SECONDS),--rounds 200)

demo: deps build ## Countersign at work on a scratch host, told as a story; leaves nothing behind
	@$(CARGO) run --locked --release --quiet -p scenarios --bin demo

clean: ## Remove everything that was built
	$(CARGO) clean
