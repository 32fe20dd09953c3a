# What the README and CI call. `make test` is the one test command.

.PHONY: up test tests check fmt lint release figures bench-stacks tools

# Builds and starts the mesh.
up:
	cargo run --release --locked -- up

# Installs what the tests need, starts the servers and runs every test.
test: tools
	cargo run --quiet --package testbed --locked -- with-servers $(MAKE) tests

# Every test, then the stories once more with every part a process of its own, on PostgreSQL and
# Kafka. Needs the servers that `make test` starts.
tests:
	cargo test --workspace --locked
	MEDISYNC_TEST_STACK=servers cargo test --workspace --locked --test it

# What CI runs.
check: fmt lint test release figures

fmt:
	cargo fmt --all --check

lint:
	cargo clippy --workspace --all-targets --locked -- -D warnings

release:
	cargo build --release --locked

# How soon it is ready, and what it costs when idle: measured, not asserted.
figures: release
	loadtests/idle.sh target/release/medisync

# What the mesh takes and costs on each stack: minutes, and best on a machine that does nothing else.
# With ARGUMENTS="--help" it says what else can be asked for.
bench-stacks: tools
	cargo build --release --locked --package medisync --package stacks
	target/release/stacks $(ARGUMENTS)

# What the tests start: PostgreSQL, Apache Kafka, Java; and what runs the tour of the README.
# And the crates of every platform: a test looks at them all, without the network.
tools:
	@services/testbed/install.sh
	@cargo fetch --locked --quiet
