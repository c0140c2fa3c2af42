# The one place for commands.

.PHONY: check fmt lint tree package test doc examples browser python wheel load release results shell deb clean-install

# What the tests and the Python package need; skipped without Python, but not in continuous integration.
PYTHON ?= python3
VENV = $(CURDIR)/target/venv
# Who runs exported networks.
export INTONE_PYTHON ?= $(VENV)/bin/python

DATA ?= ../shared/data
MODEL ?= crates/intone/models/default.safetensors

check: fmt lint tree package doc test examples browser python   ## everything that must hold before a commit

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The library stays small: no runtime, no network, no tensor framework, no plotting unless a feature asks for it.
tree:
	@! cargo tree -p intone --edges normal --locked --prefix none \
	  | grep -E '^(tokio|hyper|ureq|pyo3|plotters|wgpu|cubecl|burn)[a-z0-9_-]* ' \
	  || { echo "error: the library must not depend on the crates above" >&2; exit 1; }

# A command that fails where a file has more bytes, or where there is none: $(call at-most,BYTES,FILES).
at-most = wc -c $(2) | awk '$$2 != "total" && $$1 > $(1) { wrong = 1; print "error: " $$2 ": " $$1 " bytes; expected at most $(1)" } \
  END { exit wrong || NR == 0 }' >&2

# Every crate that can be published, as it would be: crates.io takes 10 MB. Nothing is compiled. Of the Debian package, whether
# the files lie there that are not made by `make shell`.
DEBIAN = crates/intone-cli

package:
	rm -f target/package/*.crate
	cargo package --workspace --exclude intone-python --no-verify --allow-dirty --locked --quiet
	@$(call at-most,10000000,target/package/*.crate)
	@sed -n '/^\[package.metadata.deb\]/,$$ s|.*"\(\.\./\.\./[^"]*\)".*|\1|p' $(DEBIAN)/Cargo.toml | grep -v '^../../target/' \
	  | (cd $(DEBIAN) && xargs ls -d >/dev/null)

test: $(VENV)/installed
	cargo test --workspace --locked

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The examples run, they do not only compile.
examples:
	cargo build --workspace --examples --locked
	target/debug/examples/classify samples/hello.wav samples/rain.wav
	target/debug/examples/stream samples/station.wav
	target/debug/examples/custom_corpus

# Evaluates a model on the test speakers and under changed clips, and fills in its card.
results: release
	target/release/intone evaluate $(MODEL) --data $(DATA) --out runs/results/test --robustness
	target/release/intone model card $(MODEL) --report runs/results/test/report.json -o runs/results/CARD.md

# The page in headless Chromium, which needs node, npm and chromium; skipped without them, but not in continuous integration.
# The program is the one that the tests were built with: `cargo build` would compile the framework again.
BROWSER = crates/intone-server/browser

browser: $(BROWSER)/node_modules/.package-lock.json
	@if ! command -v node >/dev/null; then echo "skipped: the browser tests need node"; test -z "$$CI"; exit; fi; \
	  cargo test --workspace --locked --no-run && cd $(BROWSER) && npm test

$(BROWSER)/node_modules/.package-lock.json: $(BROWSER)/package-lock.json
	@if ! command -v npm >/dev/null; then echo "skipped: the browser tests need npm"; test -z "$$CI"; exit; fi; \
	  cd $(BROWSER) && npm ci --no-audit --no-fund

# The Python package as its users get it: built, installed, its types checked, its tests and the examples run. Skipped without
# Python, but not in continuous integration. The program that it must agree with is the one that the tests were built with.
PACKAGE = crates/intone-python

python: $(VENV)/installed
	@if ! command -v $(PYTHON) >/dev/null; then echo "skipped: the package needs $(PYTHON)"; test -z "$$CI"; exit; fi; \
	  cargo test --workspace --locked --no-run && rm -rf target/wheels/dev && cd $(PACKAGE) && \
	  $(VENV)/bin/maturin build --quiet --locked --out $(CURDIR)/target/wheels/dev && \
	  $(PIP) install --force-reinstall --no-deps $(CURDIR)/target/wheels/dev/*.whl && \
	  $(VENV)/bin/mypy --cache-dir $(VENV)/mypy python && \
	  (cd $(VENV) && bin/python -m mypy.stubtest intone) && \
	  $(VENV)/bin/python -m pytest -q -p no:cacheprovider

wheel: $(VENV)/bin/maturin      ## target/wheels/intone-*.whl, for Python 3.10 and later, of at most 15 MB
	rm -f target/wheels/*.whl
	cd $(PACKAGE) && $(VENV)/bin/maturin build --release --locked --out $(CURDIR)/target/wheels
	@$(call at-most,15000000,target/wheels/*.whl)

PIP = $(VENV)/bin/pip --quiet --disable-pip-version-check

$(VENV)/bin/maturin: $(PACKAGE)/requirements.txt
	@if ! command -v $(PYTHON) >/dev/null; then echo "skipped: the package needs $(PYTHON)"; test -z "$$CI"; exit; fi; \
	  $(PYTHON) -m venv $(VENV) && $(PIP) install "$$(grep '^maturin==' $<)" && touch $@

$(VENV)/installed: $(PACKAGE)/requirements.txt reference/requirements-onnx.txt $(VENV)/bin/maturin
	@if ! command -v $(PYTHON) >/dev/null; then exit; fi; \
	  $(PIP) install -r $< -r reference/requirements-onnx.txt && touch $@

load: $(BROWSER)/node_modules/.package-lock.json   ## the service under load, some minutes; no part of check
	cargo build --release --locked -p intone-cli
	INTONE=$(CURDIR)/target/release/intone node $(BROWSER)/load.mjs 60

release:                        ## target/release/intone
	cargo build --release --locked

shell: release                  ## manual pages and completions, in target/shell
	mkdir -p target/shell
	target/release/intone man --out target/shell/man1
	target/release/intone completions bash > target/shell/intone.bash
	target/release/intone completions zsh > target/shell/_intone
	target/release/intone completions fish > target/shell/intone.fish

# Needs cargo-deb: cargo install cargo-deb.
deb: shell                      ## target/debian/intone_*.deb
	cargo deb --no-build -p intone-cli

# What README says of installing, done in a clean directory with what git has: the command, and the Debian package unpacked, each
# asked about a sample. Compiles everything; no part of check. Needs cargo-deb.
CLEAN = target/clean

clean-install:
	rm -rf $(CLEAN)
	git clone --quiet . $(CLEAN)/intone
	cd $(CLEAN)/intone && cargo install --quiet --locked --path crates/intone-cli --root ../installed
	$(CLEAN)/installed/bin/intone predict samples/hello.wav
	$(MAKE) -C $(CLEAN)/intone deb
	dpkg-deb --extract $(CLEAN)/intone/target/debian/intone_*.deb $(CLEAN)/unpacked
	$(CLEAN)/unpacked/usr/bin/intone predict samples/hello.wav
