//! What stands in for `engine: wasm` where Aegis is built without it: nothing that could be asked.

use serde_json::Value;

use super::Evaluation;

/// There is none.
#[derive(Debug)]
pub(super) enum Machine {}

impl Machine {
    /// # Errors
    /// Always.
    pub(super) fn load(_: &[u8], _: &[u8]) -> Result<Self, String> {
        Err("this Aegis is built without WebAssembly; build it with `--features wasm`".to_owned())
    }

    pub(super) fn evaluate(&self, _: &Value) -> Evaluation {
        match *self {}
    }
}
