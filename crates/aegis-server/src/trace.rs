//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): joined where it is well formed, started anew where it isn't.

use http::HeaderMap;

/// The trace that a call belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 16 bytes, not all zero.
    pub trace_id: [u8; 16],
    /// The caller's span; `None` when the trace starts here.
    pub parent_id: Option<[u8; 8]>,
    /// The `sampled` flag.
    pub sampled: bool,
    /// `tracestate`, passed on as it came; empty when the trace starts here.
    pub state: String,
}

impl TraceContext {
    /// Joins the trace of `headers`, or starts one with `fresh` (random) as its id.
    pub fn join(headers: &HeaderMap, fresh: [u8; 16]) -> Self {
        Self::parse(headers).unwrap_or(Self { trace_id: fresh, parent_id: None, sampled: true, state: String::new() })
    }

    fn parse(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let value = values.next()?.to_str().ok()?;
        if values.next().is_some() {
            return None;
        }
        let mut parts = value.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex::<1>(version)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace_id, parent_id, [flags]) = (hex::<16>(trace)?, hex::<8>(parent)?, hex::<1>(flags)?);
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return None;
        }
        let states: Option<Vec<&str>> = headers.get_all("tracestate").iter().map(|v| v.to_str().ok()).collect();
        let state = states.map(|states| states.join(",")).filter(|state| state.len() <= 512).unwrap_or_default();
        Some(Self { trace_id, parent_id: Some(parent_id), sampled: flags & 1 == 1, state })
    }

    /// The trace id as 32 hexadecimal digits.
    pub fn trace_id_hex(&self) -> String {
        to_hex(&self.trace_id)
    }

    /// The `traceparent` that a span of this trace sends on.
    pub fn traceparent(&self, span_id: [u8; 8]) -> String {
        format!("00-{}-{}-{:02x}", to_hex(&self.trace_id), to_hex(&span_id), u8::from(self.sampled))
    }
}

/// Hexadecimal digits, in lower case.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower-case hexadecimal only, as the specification says.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *slot = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::TraceContext;

    fn join(values: &[&str]) -> TraceContext {
        let mut headers = http::HeaderMap::new();
        for value in values {
            headers.append("traceparent", value.parse().expect("a header value"));
        }
        TraceContext::join(&headers, [7; 16])
    }

    #[test]
    fn a_well_formed_parent_is_joined() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = join(&[text]);
        assert_eq!(trace.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.traceparent(trace.parent_id.expect("a parent")), text);
        assert!(join(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what"]).parent_id.is_some());
    }

    #[test]
    fn a_malformed_one_starts_anew() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for bad in [
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf9-00f067aa0ba902b7-01",
            "",
        ] {
            assert_eq!(join(&[bad]).trace_id, [7; 16], "{bad}");
        }
        assert_eq!(join(&[good, good]).trace_id, [7; 16]);
    }
}
