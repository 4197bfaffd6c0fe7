//! Between steps 2 and 3, on a route whose agents sign their requests: the signature, over the whole body.

use aegis_core::describe::Unreadable;
use aegis_core::problem::Code;
use http::request::Parts;
use http_body_util::{BodyExt as _, Full};

use super::body::read;
use super::case::{Case, Refused};
use crate::enforce::AnyBody;
use crate::enforce::sigv4::Claim;

/// The request as it came, once its signature is found to be good; at once where its route asks for none.
pub(super) async fn verified(
    case: &mut Case,
    mut head: Parts,
    body: AnyBody,
    limit: usize,
) -> Result<(Parts, AnyBody), Refused> {
    let Some(claim) = head.extensions.remove::<Claim>() else { return Ok((head, body)) };
    let bytes = read(case, body, limit).await?;
    claim.verify(&mut head.headers, &bytes, case.now).map_err(refused)?;
    Ok((head, Full::new(bytes).map_err(|never| match never {}).boxed()))
}

/// As AWS answers what isn't signed well: forbidden, not malformed.
fn refused(Unreadable { reason, message }: Unreadable) -> Refused {
    Refused { code: Code::PolicyViolation, reason: format!("request: {reason}"), detail: message }
}
