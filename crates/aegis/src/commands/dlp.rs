//! `aegis dlp`: what a file holds that must not leave. Says type and place, never the value.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aegis_core::sanitize::{Detector, Finding, Kind, Scanner, scan};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::print;
use crate::cli::{DlpCommand, Global};
use crate::outcome::No;
use crate::style::Style;
use crate::table::{self, cell};

/// Up to this a file is read whole, and JSON value by value.
const WHOLE: usize = 16 << 20;
/// What is read at once of a longer one.
const CHUNK: usize = 1 << 20;

pub(super) fn run(command: DlpCommand, global: &Global) -> Result<()> {
    match command {
        DlpCommand::Scan { file, detect } => scan_file(&file, &detect, global),
        DlpCommand::Types => print(global, &types(), listed),
    }
}

fn scan_file(file: &Path, detect: &[String], global: &Global) -> Result<()> {
    let detector = detector(detect)?;
    let mut input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).with_context(|| format!("{} can't be read", file.display()))?)
    };
    let findings = findings(&mut input, &detector).with_context(|| format!("{} can't be scanned", file.display()))?;
    let count = findings.len();
    print(global, &json!({ "findings": findings }), |value| {
        if count == 0 { "nothing found\n".to_owned() } else { table(value) }
    })?;
    if count == 0 { Ok(()) } else { Err(No(format!("{count} found")).into()) }
}

fn detector(names: &[String]) -> Result<Detector> {
    if names.is_empty() {
        return Ok(Detector::new(Kind::ALL.map(Kind::as_str)));
    }
    for name in names {
        if !Detector::all_names().any(|other| other == name) {
            bail!("{name:?} is nothing that is detected; `aegis dlp types` lists what is");
        }
    }
    Ok(Detector::new(names.iter().cloned()))
}

fn findings(input: &mut dyn Read, detector: &Detector) -> Result<Vec<Finding>> {
    let mut bytes = Vec::new();
    input.take(WHOLE as u64).read_to_end(&mut bytes)?;
    if bytes.starts_with(&[0x1f, 0x8b])
        || bytes.starts_with(b"PK\x03\x04")
        || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
    {
        bail!("it is compressed: unpack it first");
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        bail!("it is UTF-16: `iconv -f utf-16 -t utf-8` makes it readable");
    }
    if bytes.len() < WHOLE {
        return Ok(scan(&readable(&bytes), detector)?);
    }
    let mut scanner = Scanner::new(detector);
    let mut found = Vec::new();
    loop {
        // A letter that isn't whole yet waits for the rest of it.
        let whole = whole_letters(&bytes);
        let rest = bytes.split_off(whole);
        found.extend(scanner.push(&readable(&bytes))?);
        bytes = rest;
        let read = input.take(CHUNK as u64).read_to_end(&mut bytes)?;
        if read == 0 {
            found.extend(scanner.push(&readable(&bytes))?);
            found.extend(scanner.finish()?);
            return Ok(found);
        }
    }
}

/// The text of bytes, letter by letter at the same place; what is no text is a letter that is in nothing.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n('\u{1}', chunk.invalid().len()));
    }
    text
}

/// Where the last letter ends that is whole.
fn whole_letters(bytes: &[u8]) -> usize {
    let tail = bytes.iter().rev().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
    let start = bytes.len().saturating_sub(tail + 1);
    match bytes.get(start) {
        Some(byte) if *byte >= 0xc0 => start,
        _ => bytes.len(),
    }
}

fn table(value: &Value) -> String {
    let findings = value.get("findings").and_then(Value::as_array).into_iter().flatten();
    let place = |finding: &Value| format!("{}..{}", cell(finding, "/start"), cell(finding, "/end"));
    let rows: Vec<Vec<String>> =
        findings.map(|one| vec![cell(one, "/type"), cell(one, "/rule"), place(one), cell(one, "/path")]).collect();
    table::render(&["TYPE", "RULE", "BYTES", "PATH"], &rows, Style::stdout())
}

fn types() -> Value {
    let of = |family: Kind| (family.as_str().to_owned(), json!(Detector::types_of(family)));
    Value::Object(Kind::ALL.into_iter().map(of).collect())
}

fn listed(value: &Value) -> String {
    let mut rows = Vec::new();
    for (family, types) in value.as_object().into_iter().flatten() {
        let names: BTreeSet<&str> = types.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        rows.extend(names.into_iter().map(|name| vec![name.to_owned(), family.clone()]));
    }
    table::render(&["TYPE", "FAMILY"], &rows, Style::stdout())
}
