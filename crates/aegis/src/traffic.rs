//! Recorded calls, one at a time: from a file, or page by page from the gateway that kept them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use aegis_core::call::recorded::RecordedCall;
use anyhow::{Context as _, Result, bail};
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use crate::config;
use crate::operator::{Operator, query};

/// Longest line of a file, in bytes: what one kept call comes to, and much more.
const MAX_LINE: u64 = 1 << 20;

/// The time that `--since` names; the beginning of time when nothing is said.
///
/// # Errors
/// As for [`moment`].
pub(crate) fn since(text: Option<&str>) -> Result<Timestamp> {
    text.map_or(Ok(Timestamp::UNIX_EPOCH), |text| moment("--since", text))
}

/// The time that an option names: a time (RFC 3339), or how long ago.
///
/// # Errors
/// What is neither.
pub(crate) fn moment(option: &str, text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let expected =
        || format!("{option} {text}: expected a time such as 2026-01-31T12:00:00Z, or how long ago, such as 24h");
    let age = config::duration(text).with_context(expected)?;
    Ok(Timestamp::now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Hands over every call of a file, one JSON document per line; `-` is standard input.
///
/// # Errors
/// What can't be read, with its line.
pub(crate) fn from_file(path: &Path, mut each: impl FnMut(RecordedCall) -> Result<()>) -> Result<()> {
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).with_context(|| format!("can't read {}", path.display()))?))
    };
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let place = || format!("{}:{number}", path.display());
        if reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line).with_context(place)? == 0 {
            break;
        }
        if line.len() as u64 > MAX_LINE {
            bail!("{}: the line is longer than {MAX_LINE} bytes, which no recorded call is", place());
        }
        if !line.trim_ascii().is_empty() {
            let call = serde_json::from_slice(&line);
            each(call.with_context(|| format!("{}: this is no recorded call", place()))?)?;
        }
    }
    Ok(())
}

/// Hands over every call that the gateway kept since then, as it came.
///
/// # Errors
/// What the gateway says.
pub(crate) async fn from_gateway(
    operator: &Operator,
    since: Timestamp,
    mut each: impl FnMut(Value) -> Result<()>,
) -> Result<()> {
    let mut after = 0;
    loop {
        let pairs = [("since", Some(since.to_string())), ("after", Some(after.to_string()))];
        let mut page = operator.call(Method::GET, &format!("/v1/traffic{}", query(&pairs)), None).await?;
        let Some(Value::Array(calls)) = page.get_mut("calls").map(Value::take) else {
            bail!("an answer without calls");
        };
        calls.into_iter().try_for_each(&mut each)?;
        match page.get("next").and_then(Value::as_u64) {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}
