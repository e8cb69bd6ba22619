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
PACKAGE_THREADS ?= 3

export COUNTERSIGN_STAGE := $(STAGE)

PACKAGES := $(abspath $(TARGET)/packages)
# The Debian releases on which the packages are tried.
export COUNTERSIGN_SUITES ?= bookworm

# Where `make install` puts things; DESTDIR stands before all of it.
prefix ?= /usr
PAM_DIR ?= $(firstword $(wildcard /usr/lib/$(shell uname -m)-linux-gnu/security /usr/lib64/security))

# What `make bench` measures on; a directory that is made anew and removed.
BENCH_DISK ?= $(abspath $(TARGET))/bench-disk
NATIVE := $(abspath $(TARGET))/native

.PHONY: help deps build install uninstall deb rpm lint test test-all test-fast test-units test-scenarios test-packages \
    test-reproducible torture demo clean
.PHONY: histories planted bench bench-deps bench-profile fuzz fuzz-short coverage mutants

help: ## What can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install what building, testing and the demo need (Debian 12, as root, with Rust there)
	@packaging/dev/install-dependencies

build: ## Build the daemon, the module and the tool, and stage them in target/stage
	@packaging/dev/stage "$(STAGE)"

install: build ## Install what was built (as root; DESTDIR, prefix); changes no PAM file and starts nothing
	@test -n "$(PAM_DIR)" || { echo "No PAM module directory is known here: set PAM_DIR=…" >&2; exit 1; }
	PREFIX="$(prefix)" PAM_DIR="$(PAM_DIR)" packaging/install "$(STAGE)" "$(DESTDIR)"

# What is removed is what an installation would put there, less the configuration.
uninstall: build ## Remove what was installed, not the state; first take the module out of the PAM files
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT; \
	PREFIX="$(prefix)" PAM_DIR="$(PAM_DIR)" STRIP=no packaging/install "$(STAGE)" "$$scratch"; \
	cd "$$scratch" && find . -type f ! -path './etc/countersign/*' -printf '$(DESTDIR)/%P\0' | xargs -0 rm -fv; \
	rm -rf "$(DESTDIR)$(prefix)/share/doc/countersign"

deb: build ## Build the Debian packages, in target/packages
	@rm -f "$(PACKAGES)"/*.deb
	@packaging/deb/build "$(STAGE)" "$(PACKAGES)"

rpm: build ## Build the RPM packages, in target/packages
	@rm -f "$(PACKAGES)"/*.rpm
	@packaging/rpm/build "$(STAGE)" "$(PACKAGES)"

lint: ## Formatting, clippy, documentation, licences; nothing may be left to say
	$(CARGO) fmt --all --check
	cd fuzz && $(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	@packaging/dev/planted --check
	@packaging/dev/mutants --check
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    $(CARGO) deny --all-features check licenses bans sources; \
	else \
	    echo "cargo-deny is not installed: licences and sources are not checked here"; \
	fi

test: deps lint build test-units test-scenarios test-packages fuzz-short ## All tiers: what CI runs
	@echo "All tiers passed: rules, daemon, module and tool; scenarios on scratch hosts; packages on a booted Debian; fuzzing."

# An import of so many accounts.
test-all: export SCENARIO_ACCOUNTS = 100000
test-all: test test-reproducible histories planted ## The same, 10,000 histories, planted mistakes, and the packages on Debian 13 and sid, and built twice
	$(MAKE) test-packages COUNTERSIGN_SUITES="trixie sid"

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

test-packages: deb rpm
	@echo "== Tier 5: the packages, and a booted Debian ($(COUNTERSIGN_SUITES)) that has them"
	shellcheck packaging/deb/build packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm packaging/install \
	    packaging/rpm/build packaging/dev/install-dependencies packaging/dev/stage packaging/dev/rustc packaging/dev/rootfs \
	    packaging/dev/reproduce
	$(CARGO) test --locked --release --workspace --exclude pam-module --test packages --test booted -- \
	    --test-threads=$(PACKAGE_THREADS)

test-reproducible: deb
	@packaging/dev/reproduce "$(PACKAGES)"

# Every case, or as many as fit into SECONDS; SEED plays the cases of an earlier run, PLAN one plan (docs/testing.md).
torture: deps build ## Break everything around the daemon (SECONDS=600, SEED=N, PLAN=NAME)
	@$(if $(SEED),SCENARIO_SEED=$(SEED)) $(CARGO) run --locked --release --quiet -p scenarios --bin torture -- \
	    $(if $(PLAN),--plan $(PLAN)) $(if $(SECONDS),--seconds $(SECONDS),--whole)

# Some hundred of them, and one kill, are part of `make test`.
histories: deps ## Accounts' histories beside a plain reference, and every order of two logins and two kills (HISTORIES=N, SEED=N)
	COUNTERSIGN_HISTORIES=$(or $(HISTORIES),10000) COUNTERSIGN_KILLS=2 $(if $(SEED),COUNTERSIGN_SEED=$(SEED)) \
	    $(CARGO) test --locked --release --workspace --exclude pam-module --test histories -- --nocapture

# Whether they still apply is part of `make lint`.
planted: deps build ## Plant mistakes in the daemon and the module; torture must find each by its name (PLANTED=name)
	@packaging/dev/planted "$(STAGE)" "$(abspath $(TARGET))/release/torture" "$(abspath $(TARGET))/planted" $(PLANTED)

demo: deps build ## Countersign at work on a scratch host, told as a story; leaves nothing behind
	@$(CARGO) run --locked --release --quiet -p scenarios --bin demo

# QUICK=1: three minutes instead of a quarter of an hour; DOCS=1: put the figures into docs/performance.md.
bench: deps bench-deps build $(NATIVE)/pam_load $(NATIVE)/libnss_bench.so.2 ## Measure logins beside the modules that people run (QUICK=1, DOCS=1)
	$(CARGO) run --locked --release --quiet -p bench -- $(if $(QUICK),--quick) $(if $(DOCS),--docs docs) \
	    --native "$(NATIVE)" --disk "$(BENCH_DISK)" --out "$(abspath $(TARGET))/bench"

bench-profile: deps build $(NATIVE)/pam_load $(NATIVE)/libnss_bench.so.2 ## A minute of logins for a profiler to look at
	$(CARGO) run --locked --release --quiet -p bench -- --profile 60 \
	    --native "$(NATIVE)" --disk "$(BENCH_DISK)" --out "$(abspath $(TARGET))/bench"

bench-deps:
	@packaging/dev/install-dependencies libpam-google-authenticator libpam-oath

# How long each fuzz target runs, in seconds; two run at a time.
FUZZ_SECONDS ?= 600
FUZZ_SHORT_SECONDS ?= 10

fuzz: deps ## Fuzz every target long (FUZZ_SECONDS, SANITIZER=address, FUZZ_TARGETS)
	@fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fuzz-short: ## Fuzz every target for some seconds: part of make test
	@echo "== Tier 6: fuzzing, $(FUZZ_SHORT_SECONDS) s a target"
	@fuzz/run $(FUZZ_SHORT_SECONDS)

coverage: ## Which lines of the rules the tests run: at least 98 %, and every branch of throttling and reuse; pages in target/coverage
	@packaging/dev/install-dependencies llvm-19
	@packaging/dev/coverage "$(abspath $(TARGET))/coverage"

mutants: ## Plant mistakes in the rules, one at a time; the tests must find all (MUTANT: part of a name)
	@packaging/dev/mutants "$(abspath $(TARGET))/mutants" $(if $(MUTANT),"$(MUTANT)")

$(NATIVE)/pam_load: bench/native/pam_load.c
	@mkdir -p "$(NATIVE)"
	gcc -O2 -Wall -Wextra -Werror -o "$@" "$<" -lpam

$(NATIVE)/libnss_bench.so.2: bench/native/nss_bench.c
	@mkdir -p "$(NATIVE)"
	gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$@" "$<"

clean: ## Remove everything that was built
	$(CARGO) clean
