# Shortcuts; each is a command that works without just. `just` alone lists them.

[private]
default:
    @just --list --unsorted

# watch agents being stopped: four stories through the real gateway
demo *args:
    cargo run --release -- demo {{ args }}

# the tests: everything, or parts (unit, docs, it, e2e), or `-- FILTER`
test *args:
    ./test {{ args }}

# the quick look while writing: does it compile, is it tidy, do the crates' own tests pass
quick: fmt lint
    ./test unit

# format every crate
fmt:
    cargo fmt --all

# the lints, as strict as CI
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# licences, sources, banned and duplicated crates
deny:
    scripts/tools cargo-deny
    .tools/bin/cargo-deny check bans licenses sources

# everything that a change must pass
ci:
    bash .ci/run

# install peers of the tests and the benchmark into .tools/: opa kubectl nginx …
tools *names:
    scripts/tools {{ names }}
