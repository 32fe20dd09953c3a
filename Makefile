# What the README and CI call. `make test` is the one test command.

.PHONY: up build binary check-binary test tests tests-of-crates tests-on-servers tests-of-faults \
	test-rules-on-servers test-kafka-tls faults check fmt lint figures bench-stacks bench-scale \
	bench-peers cost k6 images containers deployment tools container-tools fuzz schemathesis

# The build of the binary that a target starts:
#   dev      what the tests are built with: nothing more to compile after them
#   release  for people: built soon
#   dist     as in images: the fastest binary, which takes twice as long to build; the default, for
#            what is measured or delivered
PROFILE ?= dist
BINARY = target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/medisync

# Builds and starts the mesh.
up:
	cargo run --release --locked -- up

# One build for tests, tools and measurements: of its own, each package would have its dependencies
# built once more, with other features.
build:
	cargo build --workspace --all-targets --locked

# Never by clippy's compiler, which CI has build the tests: it optimises less.
binary:
ifeq ($(PROFILE),dev)
binary: build
else
	env --unset=RUSTC_WORKSPACE_WRAPPER cargo build --profile $(PROFILE) --locked
endif

# The binary as people build it: with the features of a workspace whole, code that only tests or
# fuzzing compile may hide that it does not build. In a folder of its own, since cargo builds one
# thing at a time in each.
check-binary:
	env --unset=RUSTC_WORKSPACE_WRAPPER cargo check --locked --target-dir target/check

# Tests mostly wait: for servers, for each other's processes, for the disk.
export RUST_TEST_THREADS ?= 4
WITH_SERVERS = target/debug/testbed with-servers
STORIES = cargo test --workspace --locked --test it --

# Installs what the tests need, starts the servers and runs every test of the gate.
test: tools build
	$(WITH_SERVERS) $(MAKE) tests

# Every test; the stories of stores, events and several processes (tests/it/stacks) once more, with
# every part a process of its own, on PostgreSQL and Kafka. Three at a time, since each of them waits
# much. Needs the servers of `make test`.
tests:
	$(MAKE) --jobs 3 --keep-going --no-print-directory tests-of-crates tests-on-servers tests-of-faults

tests-of-crates:
	cargo test --workspace --locked --no-fail-fast -- --skip fault-suite

tests-on-servers:
	MEDISYNC_TEST_STACK=servers $(STORIES) stacks::

tests-of-faults:
	cargo test --workspace --locked --test faults

# The stories that `make test` plays on the embedded stores only, for it is not plausible that others change
# them (tests/it/rules), on PostgreSQL and Kafka.
test-rules-on-servers: tools build
	MEDISYNC_TEST_STACK=servers $(WITH_SERVERS) $(STORIES) rules::

# TLS to Kafka: a feature that is not in the binary by default, for which librdkafka is built again.
test-kafka-tls: tools build
	$(WITH_SERVERS) cargo test --workspace --locked --features kit/kafka-tls,kit/testing --test kafka_tls

# Faults in an order that nobody chose, the long ones too: other ones each time, unless SEED=N says which.
ROUNDS ?= 20
SEED ?= any
faults: tools build
	$(WITH_SERVERS) cargo test --workspace --locked --test faults -- --rounds $(ROUNDS) --seed $(SEED) --long

# All that CI runs before a release.
check: lint
	.ci/run --full

fmt:
	cargo fmt --all --check

lint: tools
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

# How soon it is ready, and what it costs when idle: measured, not asserted.
figures: binary
	loadtests/idle.sh $(BINARY)

# What the mesh takes and costs on each stack: minutes, and best on a machine that does nothing else.
# With ARGUMENTS="--help" it says what else can be asked for.
bench-stacks: tools binary
	cargo run --profile $(PROFILE) --locked --package stacks -- $(ARGUMENTS)

# What requests cost with ten thousand patients, and with a million.
bench-scale: binary
	cargo run --profile $(PROFILE) --locked --package stacks -- --patients 10000,100000,1000000 $(ARGUMENTS)

# wrk and valgrind do the work, so that this need not be quick itself.
PEERS = target/debug/peers --binary $(BINARY)

# What a request costs at our gateway, and at nginx, HAProxy and Envoy beside it.
bench-peers: binary build
	$(PEERS) compare --envoy "$$(loadtests/install.sh peers)" $(ARGUMENTS)

# What a request at our gateway takes of instructions and allocations, beside what is recorded.
# Allocations are counted in a binary without an allocator of its own; a test is built with it, so
# that its dependencies are those that were built for tests.
cost: binary build
	loadtests/install.sh valgrind
	cargo build --quiet --locked --workspace --no-default-features --bin medisync --test faults
	$(PEERS) cost $(ARGUMENTS)

# A k6 script: make k6 SCRIPT=smoke
SCRIPT ?= smoke
k6: binary
	BINARY=$(BINARY) loadtests/k6/run.sh $(SCRIPT)

# Every reader of what others send, fed with what libFuzzer makes up: ten seconds each, or SECONDS=3600.
SECONDS ?= 10
fuzz:
	fuzz/run.sh $(SECONDS) $(TARGETS)

# Every documented operation, asked in every way that its document allows, and in others.
schemathesis: binary
	BINARY=$(BINARY) services/medisync/tests/schemathesis/run.sh $(ARGUMENTS)

# The images, of that binary; each started as it is meant to run, none with a secret in it. As root.
images: binary
	set -e; export $$(services/testbed/containers.sh); \
	strip --strip-all -o target/image-binary $(BINARY); \
	docker/build.sh --binary target/image-binary --save target/images; \
	docker/smoke.sh; \
	docker/scan-secrets.py target/images/*.tar

# Stories once more, with every part a container, on PostgreSQL and Kafka: those in which it can matter
# how a part is packed, or more of them. Needs the images.
STORIES_IN_CONTAINERS ?= rules::response_headers stacks::comes_back stacks::crash stacks::documents
containers: tools build
	set -e; export $$(services/testbed/containers.sh); \
	trap 'podman --log-level=fatal rm --force --time 0 --filter label=medisync-test > /dev/null' EXIT; \
	MEDISYNC_TEST_STACK=containers RUST_TEST_THREADS=2 $(WITH_SERVERS) $(STORIES) $(STORIES_IN_CONTAINERS)

# What deploys it: Compose, Kubernetes, AWS.
deployment:
	infrastructure/check.sh

# What the tests start: PostgreSQL, Apache Kafka, Java; what runs the tour of the README; OpenSSL.
# And the crates of every platform: a test looks at them all, without the network.
tools:
	@services/testbed/install.sh
	@cargo fetch --locked --quiet

# What builds and runs images where there is no Docker. As root.
container-tools:
	@services/testbed/containers.sh > /dev/null
