# Thin: each target is one or two commands that can be typed by hand. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.SILENT:

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
TARGET  := x86_64-unknown-linux-gnu
STATIC  := CARGO_TARGET_$(shell echo $(TARGET) | tr a-z- A-Z_)_RUSTFLAGS="-C target-feature=+crt-static"
# Tests link the dependencies that the release binaries are built with, the same way: what is shipped is what is tested, and on a fresh machine they
# are compiled once. Our own crates are built anew, with checks (.ci/tests.toml).
TEST    := $(STATIC) cargo test --locked --workspace --release --target $(TARGET) --config .ci/tests.toml
BINS    := catalyst-operator catalyst-proxy catalyst-lab catalyst-demo kubectl-catalyst
IMAGES  := catalyst-operator catalyst-proxy
LAB     := target/release/catalyst-lab
LABS    := $${XDG_STATE_HOME:-$$HOME/.local/state}/catalyst-lab
E2E_LAB := $${CATALYST_E2E_LAB:-e2e}
E2E_LOGS := target/e2e-logs
# What the tests need beside what the lab needs: program=Debian package.
TEST_TOOLS := chromium=chromium chromedriver=chromium-driver dash=dash busybox=busybox-static ssh=openssh-client shellcheck=shellcheck kill=procps openssl=openssl tmux=tmux screen=screen \
  /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core
# What wetty and sshx, which the terminal is measured against, are built with.
BENCH_TOOLS := protoc=protobuf-compiler make=make g++=g++ python3=python3 ssh=openssh-client
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 300
FLEET ?= 1000
export CATALYST_VERSION := $(VERSION)

.NOTPARALLEL:
.PHONY: help demo demo-down test lint fmt generate images chart release web setup style-tools lint-tools style lab-tools bench-tools test-tools unit e2e bench soak fuzz

help: ## this list
	grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

demo: images ## build everything, start the lab, install the operator, apply an example, print the URL (warm 30 s, cold about 25 min)
	target/release/catalyst-demo up

demo-down: ## remove everything that `make demo` made on the machine (build caches stay)
	if [ -x target/release/catalyst-demo ]; then target/release/catalyst-demo down; exit; fi
	if [ ! -e "$(LABS)/$${CATALYST_LAB:-demo}" ]; then echo "nothing to remove: there is no demo on this machine"; exit; fi
	echo "the demo was not built here, or its build is gone: building what takes it down (about 2 min)"
	cargo build --locked --workspace --bin catalyst-lab
	target/debug/catalyst-lab down

test: style images unit e2e ## everything: format, web, unit, golden, real API server, real sshd, real CLI, cluster, browser

unit: test-tools ## all but the cluster and browser tests
	(cd web && npm test)
	# Beside each other: each of them leaves a processor idle now and then.
	$(LAB) build >/dev/null & lab=$$!
	trap 'kill $$lab 2>/dev/null || true' EXIT
	$(TEST) --no-run
	wait $$lab
	$(TEST)

# `--workspace` and a feature rather than `-p`: dependencies keep the features, and so the builds, that the other tests have.
e2e: images test-tools ## the cluster and browser tests, on a lab of their own that is taken down afterwards; the logs of a failed run stay in target/e2e-logs
	rm -rf $(E2E_LOGS)
	trap '[ $$? = 0 ] || $(LAB) --name $(E2E_LAB) logs $(E2E_LOGS) || true; $(LAB) down --name $(E2E_LAB)' EXIT
	export CATALYST_LAB_BINARY=$(CURDIR)/$(LAB) # a test of one package builds no program of another
	$(TEST) --features catalyst-e2e/cluster --test cluster -- --test-threads=3

bench: bench-tools ## measure the proxy against OpenSSH, wetty and sshx, the operator against a plain client, kubectl and Helm, and with FLEET instances that run (1,000); prints tables
	$(STATIC) cargo build --locked --release --target $(TARGET) --bin bench-agent --bin bench-operator --bin bench-proxy
	target/$(TARGET)/release/bench-proxy --install
	target/$(TARGET)/release/bench-proxy
	target/$(TARGET)/release/bench-operator --fleet $(FLEET)

soak: ## very many events while sshd, proxies and connections break at random, for SOAK_SECONDS (300); prints what was seen, and memory
	export SOAK_SECONDS=$(SOAK_SECONDS)
	$(TEST) --test soak -- --nocapture

# Nightly for the compiler's own instrumentation. No sanitizer: no crate of ours has `unsafe` to be watched, and without one it is twice as fast.
fuzz: ## give each fuzz target FUZZ_SECONDS (60) on one core; needs a nightly toolchain and cargo-fuzz
	cargo +nightly --version >/dev/null 2>&1 || { echo "a nightly toolchain is missing: rustup toolchain install nightly --profile minimal"; exit 1; }
	command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install --locked --version 0.13.1 cargo-fuzz"; exit 1; }
	cd fuzz
	nice cargo +nightly fuzz build --fuzz-dir . --sanitizer none
	for target in $$(cargo +nightly fuzz list --fuzz-dir .); do
	  case $$target in frames | stream_json | terminal) words=json ;; *) words=$$target ;; esac
	  mkdir -p corpus/$$target
	  echo "$$target: $(FUZZ_SECONDS) s"
	  nice cargo +nightly fuzz run --fuzz-dir . --sanitizer none $$target corpus/$$target seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -rss_limit_mb=1024 -timeout=10 -dict=dictionaries/$$words.dict -print_final_stats=1
	done

lint: lint-tools style ## rustfmt, clippy (warnings are errors), licences and banned crates, web checks, shell scripts
	cargo clippy --locked --workspace --all-targets -- -D warnings
	command -v cargo-deny >/dev/null || cargo install --locked --version 0.20.2 cargo-deny
	cargo deny --offline check licenses bans sources

style: style-tools web # the part of lint that takes seconds
	cargo fmt --all --check
	(cd web && npm run check)
	shellcheck .ci/run .ci/setup
	git ls-files '*.sh' | xargs shellcheck --shell=sh --severity=error # fragments that are put together at run time: each sees names of the others

fmt: ## format all code
	cargo fmt --all

# The tests that compare write instead; that of docs/status.md starts a control plane for it.
generate: setup ## write from the code what is made of it: crds/, the generated pages of docs/, and the chart's templates that have no values
	UPDATE_GENERATED=1 $(TEST) --test generated --test config --test gallery

lab-tools: release # install from Debian's packages what the lab lacks
	$(LAB) preflight --install

test-tools: release # and what the tests lack
	$(LAB) preflight --install $(foreach tool,$(TEST_TOOLS),--also $(tool))

bench-tools: release # and what the benchmarks lack
	$(LAB) preflight --install $(foreach tool,$(BENCH_TOOLS),--also $(tool))

images: lab-tools ## both container images, as archives in target/images
	mkdir -p target/images
	for image in $(IMAGES); do
	  archive=target/images/$$image.tar
	  if [ $$archive -nt target/release/$$image ] && [ $$archive -nt Dockerfile.$${image#catalyst-} ] && [ $$archive -nt proxy/image ]; then continue; fi
	  rm -f $$archive
	  buildah bud -q --isolation chroot --format docker -f Dockerfile.$${image#catalyst-} -t docker.io/library/$$image:$(VERSION) . >/dev/null
	  buildah push -q docker.io/library/$$image:$(VERSION) docker-archive:$$archive:docker.io/library/$$image:$(VERSION)
	  echo "$$archive: $$(du -h $$archive | cut -f1)"
	done

# What `helm package` makes: the folder in an archive.
chart: ## the operator's Helm chart as an archive in target, to be installed from there or pushed to an OCI registry
	mkdir -p target
	tar -czf target/catalyst-operator-$(VERSION).tgz --owner=0 --group=0 --numeric-owner -C charts catalyst-operator
	echo "target/catalyst-operator-$(VERSION).tgz"

release: setup web ## static release binaries in target/release
	$(STATIC) cargo build --locked --release --target $(TARGET) $(addprefix --bin ,$(BINS))
	mkdir -p target/release; for bin in $(BINS); do ln -f target/$(TARGET)/release/$$bin target/release/$$bin; done

web: web/dist/assets ## the browser UI, in web/dist

# The folder of assets, since a build of the proxy alone puts a page in place of the index that says what is missing.
web/dist/assets: web/package.json web/package-lock.json web/index.html web/vite.config.ts $(wildcard web/tsconfig*.json) $(shell find web/src web/public web/dev -type f 2>/dev/null)
	cd web && npm ci --no-audit --no-fund --loglevel=error && npm run build && touch dist/assets

setup: ## check the tools that the build needs (Rust, Go, Node, root, disk), install a C compiler if there is none
	.ci/setup

style-tools: # and those of style
	.ci/setup rustfmt shellcheck

lint-tools: # and those of lint
	.ci/setup rustfmt clippy shellcheck
