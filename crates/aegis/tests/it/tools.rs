//! The real parts that `./test` installs, by name.

use std::path::PathBuf;

/// The path of a tool in `.tools/bin` (or `AEGIS_TOOLS`); the machine's own is never used in its place.
///
/// # Panics
/// When it isn't installed: a test that needs it can't pass without it.
pub fn tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("AEGIS_TOOLS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} isn't there: run `./test e2e`, which installs it", path.display());
    path
}
