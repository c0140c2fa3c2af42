# The one place for commands.

.PHONY: check fmt lint test doc

check: fmt lint test doc   ## everything that must hold before a commit

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

test:
	cargo test --workspace --locked

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
