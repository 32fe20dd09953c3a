# What the README and CI call. `make test` is the one test command.

.PHONY: up test tests check fmt lint release figures bench-stacks tools

# Builds and starts the mesh.
up:
	cargo run --release --locked -- up

# Installs what the tests need, starts the servers and runs every test.
test: tools
	cargo run --quiet --package testbed --locked -- with-servers $(MAKE) tests

# Every test, then the stories once more with every part a process of its own, on PostgreSQL and
# Kafka, then TLS to Kafka: a feature that is not in the binary by default, for which librdkafka is
# built again. Needs the servers that `make test` starts.
tests:
	cargo test --workspace --locked
	MEDISYNC_TEST_STACK=servers cargo test --workspace --locked --test it
	cargo test --workspace --locked --features kit/kafka-tls,kit/testing --test kafka_tls

# What CI runs.
check: fmt lint test release figures

fmt:
	cargo fmt --all --check

lint: tools
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

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

# What the tests start: PostgreSQL, Apache Kafka, Java; what runs the tour of the README; OpenSSL.
# And the crates of every platform: a test looks at them all, without the network.
tools:
	@services/testbed/install.sh
	@cargo fetch --locked --quiet
