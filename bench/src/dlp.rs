//! How fast what must not leave is found: a call of 10 KB, a file of 10 MB, beside the programs that people have for it.

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aegis_core::sanitize::{Answers, Detector, Kind, scan, scan_text};
use anyhow::{Context as _, Result, ensure};

use crate::Tools;
use crate::report::{Row, Section, number};

const ROUNDS: usize = 9;
const SMALL: usize = 10_000;
const LARGE: usize = 10_000_000;

pub(crate) fn run(tools: &Tools, scratch: &Path) -> Result<Section> {
    let detector = Detector::new(Kind::ALL.map(Kind::as_str));
    let (small, large) = (calls(SMALL), calls(LARGE));
    // A first pass compiles the patterns.
    let found = scan_text(&large, 0, &detector)?.len();
    ensure!(found > 0, "the texts hold something");
    let mut rows = Vec::new();
    let answers = Answers::new([(detector.clone().into(), None)]);
    for (text, size, repeat) in [(&small, "10 KB", 200), (&large, "10 MB", 1)] {
        let as_json = speed(text.len(), repeat, || scan(text, &detector).map(|found| found.len()).unwrap_or_default());
        rows.push(row(format!("scan, {size} of JSON, value by value"), as_json));
        let as_text =
            speed(text.len(), repeat, || scan_text(text, 0, &detector).map(|found| found.len()).unwrap_or_default());
        rows.push(row(format!("scan, {size}, as a text"), as_text));
        let redacted = speed(text.len(), repeat, || {
            let mut found = std::collections::BTreeSet::new();
            answers.text(text, &mut found).map_or(0, |text| text.len())
        });
        rows.push(row(format!("redact, {size} of JSON in a text"), redacted));
        let clean = plain(text);
        let nothing =
            speed(clean.len(), repeat, || scan_text(&clean, 0, &detector).map(|found| found.len()).unwrap_or_default());
        rows.push(row(format!("scan, {size} with nothing in it, as a text"), nothing));
    }
    rows.extend(peers(&large, &detector, tools, scratch)?);
    let note = format!(
        "All {} types at once, on one thread; base64, URL encoding and escapes are looked into. The texts are calls as agents make them: \
         names, ids, digests, prose; in each 10 KB a mail address, a card number and a token. {found} findings in 10 MB. The 10 MB as a text \
         beside ripgrep with the same patterns of secrets and detect-secrets with its defaults, each started anew on the same file \
         (neither looks for numbers by check digit, nor into encodings). Of {ROUNDS} rounds the one in the middle is shown. Ratio: ours to the peer's.",
        Detector::all_names().count() - Kind::ALL.len()
    );
    Ok(Section { title: "What must not leave", note, rows })
}

fn row(what: String, speed: f64) -> Row {
    Row { ours: number(speed, "MB/s"), ..Row::new(what) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Megabytes a second.
fn speed(bytes: usize, repeat: usize, work: impl Fn() -> usize) -> f64 {
    let round = || {
        let start = Instant::now();
        for _ in 0..repeat {
            black_box(work());
        }
        start.elapsed()
    };
    (bytes * repeat) as f64 / 1e6 / median((0..ROUNDS).map(|_| round()).collect()).as_secs_f64()
}

/// JSON of about so many bytes: a list of calls.
fn calls(bytes: usize) -> String {
    let mut calls = Vec::new();
    let (mut length, mut n) = (0, 0_u64);
    while length < bytes {
        n += 1;
        let digest: String =
            (0..4).map(|part| format!("{:016x}", (n + part).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        let mut call = serde_json::json!({
            "id": format!("call_{n}"), "at": format!("2026-11-{:02}T12:{:02}:{:02}Z", n % 28 + 1, n % 60, n % 59),
            "tool": "kubernetes", "action": "scale", "params": {"namespace": "staging", "name": format!("web-{n}"), "replicas": n % 50},
            "image": format!("registry.acme.example/shop/web@sha256:{digest}"),
            "note": "Scaled after the load test; the error rate stayed below one percent and the queue drained within ten minutes.",
            "labels": ["team-checkout", "tier-frontend", format!("rollout-{}", n / 7)], "latency_ms": n as f64 / 7.0,
        });
        if n % 20 == 7 {
            call["note"] =
                format!("Ask jane.doe{n}@example.org, paid with 4111 1111 1111 1111, token ghp_{}", &digest[..36])
                    .into();
        }
        let text = call.to_string();
        length += text.len() + 1;
        calls.push(text);
    }
    format!("[{}]", calls.join(",\n"))
}

fn plain(text: &str) -> String {
    text.replace('@', " at ").replace("4111 1111", "some").replace("ghp_", "")
}

/// The same file by programs of their own.
fn peers(text: &str, detector: &Detector, tools: &Tools, scratch: &Path) -> Result<Vec<Row>> {
    let file = scratch.join("calls.json");
    std::fs::write(&file, text)?;
    let patterns = scratch.join("patterns");
    let mut list = std::fs::File::create(&patterns)?;
    // ripgrep reads line by line: what goes over lines it can't be told.
    let told: Vec<&str> =
        Detector::patterns().filter(|pattern| !pattern.contains("\\n") && !pattern.contains("\\S")).collect();
    for pattern in &told {
        // A name of a group is told only once in a list.
        writeln!(list, "{}", pattern.replace("(?P<v>", "(?:"))?;
    }
    let ours = speed(text.len(), 1, || scan_text(text, 0, detector).map(|found| found.len()).unwrap_or_default());
    let mut rows = Vec::new();
    let mut rg = Command::new("rg");
    rg.args(["--count-matches", "--no-unicode", "--threads", "1", "-f"]).arg(&patterns).arg(&file);
    rows.push(beside(&format!("ripgrep, {} patterns", told.len()), rg, "", text.len(), ours)?);
    let mut secrets = Command::new(tools.of("detect-secrets"));
    // It skips what is not below where it stands.
    secrets.current_dir(scratch).args(["scan", "--all-files", "calls.json"]);
    rows.push(beside("detect-secrets, defaults", secrets, "GitHub Token", text.len(), ours)?);
    Ok(rows)
}

/// Runs a program three times, or until it took half a minute. `told`: what it says when it has found something.
fn beside(what: &str, mut command: Command, told: &str, bytes: usize, ours: f64) -> Result<Row> {
    let mut times = Vec::new();
    while times.len() < 3 && times.iter().sum::<Duration>() < Duration::from_secs(30) {
        let start = Instant::now();
        let output = command.output().with_context(|| format!("{what} can't be started"))?;
        times.push(start.elapsed());
        ensure!(output.status.success(), "{what} failed: {}", String::from_utf8_lossy(&output.stderr));
        ensure!(String::from_utf8_lossy(&output.stdout).contains(told), "{what} found nothing");
    }
    let theirs = bytes as f64 / 1e6 / median(times).as_secs_f64();
    Ok(Row::new(format!("scan, 10 MB, as a text; beside {what}")).beside(ours, theirs, "MB/s"))
}
