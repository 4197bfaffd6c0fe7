//! JUnit XML, as CI servers read it: one suite per file of cases. Control characters, which XML 1.0 has no way to write (§2.2), are
//! replaced: a report that can't be read fails nobody.

use std::path::Path;

use anyhow::{Context as _, Result};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::output::files;
use super::run::Outcome;
use crate::table::{plain, plain_lines};

pub(super) fn write(file: &Path, outcomes: &[Outcome]) -> Result<()> {
    let xml = render(outcomes).context("the results can't be written as XML")?;
    std::fs::write(file, xml).with_context(|| format!("can't write {}", file.display()))
}

fn render(outcomes: &[Outcome]) -> std::io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("testsuites").with_attributes(counts(outcomes.iter()).each()).write_inner_content(
        |writer| {
            for file in files(outcomes) {
                let of_file = || outcomes.iter().filter(|outcome| outcome.file == file);
                let counts = counts(of_file());
                let suite =
                    writer.create_element("testsuite").with_attribute(("name", file)).with_attributes(counts.each());
                suite.write_inner_content(|writer| of_file().try_for_each(|outcome| case(writer, outcome)))?;
            }
            Ok(())
        },
    )?;
    Ok(writer.into_inner())
}

fn case(writer: &mut Writer<Vec<u8>>, outcome: &Outcome) -> std::io::Result<()> {
    let (line, name) = (outcome.line.to_string(), plain(&outcome.name));
    let attributes = [
        ("classname", outcome.file.as_str()),
        ("name", name.as_str()),
        ("file", outcome.file.as_str()),
        ("line", line.as_str()),
    ];
    let case = writer.create_element("testcase").with_attributes(attributes);
    let Some(first) = outcome.differences.first() else { return case.write_empty().map(drop) };
    let because = outcome.actual.iter().flat_map(|actual| &actual.messages).map(|message| format!("because {message}"));
    let all: Vec<String> = outcome.differences.iter().cloned().chain(because).collect();
    case.write_inner_content(|writer| {
        let failure = writer.create_element("failure").with_attribute(("message", plain(first).as_str()));
        failure.write_text_content(BytesText::new(&plain_lines(&all.join("\n")))).map(drop)
    })
    .map(drop)
}

/// The counts of a suite, as its attributes.
struct Counts {
    tests: String,
    failures: String,
}

impl Counts {
    fn each(&self) -> [(&'static str, &str); 4] {
        [("tests", &self.tests), ("failures", &self.failures), ("errors", "0"), ("skipped", "0")]
    }
}

fn counts<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> Counts {
    let failed = outcomes.clone().filter(|outcome| !outcome.passed()).count();
    Counts { tests: outcomes.count().to_string(), failures: failed.to_string() }
}
