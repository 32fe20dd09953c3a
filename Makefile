# What the README and CI call. `make test` is the one test command.

.PHONY: up test check fmt lint release figures tools

# Builds and starts the mesh.
up:
	cargo run --release --locked -- up

# Installs what the tests need and runs every test.
test: tools
	cargo test --workspace --locked

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

# The tour of the README is run by bash and curl; both are on most machines.
tools:
	@missing=""; for tool in bash curl; do command -v $$tool > /dev/null || missing="$$missing $$tool"; done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing"; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -qq --yes --no-install-recommends $$missing ca-certificates; \
	fi
