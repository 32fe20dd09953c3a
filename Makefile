# What the README and CI call. `make test` is the one test command.

.PHONY: up build test tests check fmt lint release figures bench-stacks bench-scale bench-peers cost k6 images \
	containers deployment tools fuzz schemathesis

# Builds and starts the mesh.
up:
	cargo run --release --locked -- up

# One build for tests, tools and measurements: of its own, each package would have its dependencies
# built once more, with other features.
build:
	cargo build --workspace --all-targets --locked

# Installs what the tests need, starts the servers and runs every test.
test: tools build
	target/debug/testbed with-servers $(MAKE) tests

# Which stories are played on servers, by their folder: what stores, event log or processes can
# change. ON_SERVERS="--skip once::" plays those, too, that they cannot plausibly change.
ON_SERVERS = stacks::
# Stories wait more than they work.
export RUST_TEST_THREADS ?= 6

# Every test, then stories once more with every part a process of its own, on PostgreSQL and
# Kafka, then TLS to Kafka: a feature that is not in the binary by default, for which librdkafka is
# built again. Needs the servers that `make test` starts.
tests:
	cargo test --workspace --locked
	MEDISYNC_TEST_STACK=servers cargo test --workspace --locked --test it -- $(ON_SERVERS)
	cargo test --workspace --locked --features kit/kafka-tls,kit/testing --test kafka_tls

# What CI runs.
check: fmt lint test fuzz release figures k6 schemathesis cost images containers deployment

fmt:
	cargo fmt --all --check

lint: tools
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

# Never by clippy's compiler, which CI has build the tests: it optimises less.
release:
	env --unset=RUSTC_WORKSPACE_WRAPPER cargo build --release --locked

# How soon it is ready, and what it costs when idle: measured, not asserted.
figures: release
	loadtests/idle.sh target/release/medisync

# What the mesh takes and costs on each stack: minutes, and best on a machine that does nothing else.
# With ARGUMENTS="--help" it says what else can be asked for.
bench-stacks: tools release
	cargo run --release --locked --package stacks -- $(ARGUMENTS)

# What requests cost with ten thousand patients, and with a million.
bench-scale: release
	cargo run --release --locked --package stacks -- --patients 10000,100000,1000000 $(ARGUMENTS)

# wrk and valgrind do the work, so that this need not be quick itself.
PEERS = target/debug/peers --binary target/release/medisync

# What a request costs at our gateway, and at nginx, HAProxy and Envoy beside it.
bench-peers: release build
	$(PEERS) compare --envoy "$$(loadtests/install.sh peers)" $(ARGUMENTS)

# What a request at our gateway takes of instructions and allocations, beside what is recorded.
# Allocations are counted in a binary without an allocator of its own; a test is built with it, so
# that its dependencies are those that were built for tests.
cost: release build
	loadtests/install.sh valgrind
	cargo build --quiet --locked --workspace --no-default-features --bin medisync --test faults
	$(PEERS) cost $(ARGUMENTS)

# A k6 script: make k6 SCRIPT=smoke
SCRIPT ?= smoke
k6: release
	loadtests/k6/run.sh $(SCRIPT)

# Every reader of what others send, fed with what libFuzzer makes up: ten seconds each, or SECONDS=3600.
SECONDS ?= 10
fuzz:
	fuzz/run.sh $(SECONDS) $(TARGETS)

# Every documented operation, asked in every way that its document allows, and in others.
schemathesis: release
	services/medisync/tests/schemathesis/run.sh $(ARGUMENTS)

# The images, of the release binary; each started as it is meant to run, none with a secret in it. As root.
images: release
	set -e; export $$(services/testbed/containers.sh); \
	docker/build.sh --binary target/release/medisync --save target/images; \
	docker/smoke.sh; \
	docker/scan-secrets.py target/images/*.tar

# Stories once more, with every part a container, on PostgreSQL and Kafka. Needs the images.
CONTAINED = rules::front stacks::comes_back stacks::crash stacks::documents
containers: tools build
	set -e; export $$(services/testbed/containers.sh); \
	trap 'podman --log-level=fatal rm --force --time 0 --filter label=medisync-test > /dev/null' EXIT; \
	MEDISYNC_TEST_STACK=containers target/debug/testbed with-servers \
	cargo test --workspace --locked --test it -- $(CONTAINED:%=%::) --test-threads 2

# What deploys it: Compose, Kubernetes, AWS.
deployment:
	infrastructure/check.sh

# What the tests start: PostgreSQL, Apache Kafka, Java; what runs the tour of the README; OpenSSL.
# And the crates of every platform: a test looks at them all, without the network.
tools:
	@services/testbed/install.sh
	@cargo fetch --locked --quiet
