//! What became of one call, for an adapter to render in its own protocol.

use aegis_core::call::ToolCall;
use aegis_core::decide::Explanation;
use http::Response;

use crate::answer::{self, Form};
use crate::enforce::{AnyBody, Failure};

/// How a call ended up. Each is on record already.
#[derive(Debug)]
pub enum Handled {
    /// Admitted and forwarded: the upstream's answer, as it came.
    Forwarded {
        /// Why.
        explanation: Box<Explanation>,
        /// Its head; the body is still on its way.
        response: Response<AnyBody>,
    },
    /// Admitted, for a caller that enforces.
    Admitted {
        /// Why.
        explanation: Box<Explanation>,
        /// The call as it may run: what policies want redacted is redacted.
        call: Box<ToolCall>,
    },
    /// Denied, or a human has been asked.
    Refused {
        /// Why.
        explanation: Box<Explanation>,
        /// How its client likes to be told, over HTTP.
        form: Form,
    },
    /// Admitted, and the upstream failed.
    Failed {
        /// Why it was admitted.
        explanation: Box<Explanation>,
        /// How it failed.
        failure: Failure,
        /// How its client likes to be told, over HTTP.
        form: Form,
    },
}

impl Handled {
    /// Why.
    pub fn explanation(&self) -> &Explanation {
        match self {
            Self::Forwarded { explanation, .. }
            | Self::Admitted { explanation, .. }
            | Self::Refused { explanation, .. }
            | Self::Failed { explanation, .. } => explanation,
        }
    }

    /// The answer over HTTP. A call that its caller enforces gets an empty 200.
    pub fn into_response(self) -> Response<AnyBody> {
        match self {
            Self::Forwarded { explanation, response } => answer::passed(response, &explanation),
            Self::Admitted { explanation, .. } => answer::admitted(&explanation),
            Self::Refused { explanation, form } => answer::refusal(&explanation, form),
            Self::Failed { explanation, failure, form } => answer::failed(&explanation, failure, form),
        }
    }
}
