# shellcheck shell=bash
# Programs built from the crates of the Rust registry. Sourced by scripts/tools.

pin cargo-deny 0.20.2

install_cargo-deny() {
  command -v cargo >/dev/null || die "no Rust toolchain is here: install Rust 1.95 or newer (rustup), then run this again"
  # A tool that runs for a second: built quickly rather than optimised (its own profile asks for fat link-time optimisation).
  quietly cargo-deny env -u CARGO_TARGET_DIR -u RUSTFLAGS CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    nice -n 10 cargo install cargo-deny --locked --version "$(pinned cargo-deny)" --root "$tools" --force
}
