//! Recall and precision on the corpora that others wrote (`AEGIS_CORPORA`), each positive also in every disguise. Without the
//! corpora there is nothing to measure, and the test says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{all, post, sanitizer, to};
use crate::call::{Body, Payload, ToolCall};
use crate::sanitize::{Scanner, apply, scan, scan_text};

/// A text of a corpus, whether something is in it, and the field that it is told to be of (`""`: none).
struct Case {
    kind: String,
    text: String,
    field: &'static str,
    types: &'static [&'static str],
    positive: bool,
}

/// What of a corpus is claimed: its name, the field that says what it is (none: it is known by itself), our types, and whether
/// what is no such thing is put in that field too (not where no check digit could tell). What isn't here isn't claimed: docs/dlp.md.
type Claim = (&'static str, &'static str, &'static [&'static str], bool);

const CLAIMED: &[Claim] = &[
    ("aba_routing", "routing_number", &["us_routing_number"], true),
    ("au_abn", "abn", &["au_abn"], true),
    ("au_acn", "acn", &["au_acn"], true),
    ("au_medicare", "medicare", &["au_medicare"], true),
    ("au_tfn", "tfn", &["au_tfn"], true),
    ("ca_sin", "sin", &["ca_sin"], true),
    ("credit_card", "", &["card_number"], true),
    ("de_health_insurance", "kvnr", &["de_health_insurance"], true),
    ("de_lanr", "lanr", &["de_physician_number"], true),
    ("de_social_security", "rentenversicherungsnummer", &["de_social_security"], true),
    ("de_tax_id", "steuer_id", &["de_tax_id"], true),
    ("email", "", &["email"], true),
    ("es_nie", "", &["es_nie"], true),
    ("es_nif", "dni", &["es_dni"], true),
    ("fi_personal_identity_code", "", &["fi_hetu"], true),
    ("in_aadhaar", "aadhaar", &["in_aadhaar"], true),
    ("in_gstin", "", &["in_gstin"], true),
    ("in_passport", "passport", &["passport_number"], false),
    ("it_vat_code", "partita iva", &["it_vat_number"], true),
    ("it_fiscal_code", "", &["it_fiscal_code"], true),
    ("kr_brn", "brn", &["kr_business_number"], true),
    ("kr_frn", "frn", &["kr_frn"], true),
    ("kr_passport", "passport", &["passport_number"], false),
    ("kr_rrn", "rrn", &["kr_rrn"], true),
    ("ph_mobile_number", "mobile", &["phone_number"], false),
    ("phone", "", &["phone_number"], true),
    ("pl_pesel", "pesel", &["pl_pesel"], true),
    ("se_organisationsnummer", "organisationsnummer", &["se_organisation_number"], true),
    ("se_personnummer", "personnummer", &["se_personnummer"], true),
    ("th_tnin", "national id", &["th_id"], true),
    ("tr_national_id", "tckn", &["tr_id"], true),
    ("tr_phone_number", "phone", &["phone_number"], false),
    ("uk_nhs", "nhs_number", &["uk_nhs"], true),
    ("uk_nino", "", &["uk_nino"], true),
    ("uk_passport", "passport", &["passport_number"], false),
    ("us_itin", "itin", &["us_itin"], true),
    ("us_mbi", "", &["us_mbi"], true),
    ("us_npi", "npi", &["us_npi"], true),
    ("us_ssn", "ssn", &["us_ssn"], true),
    ("za_id_number", "id_number", &["za_id"], true),
    // Secrets
    ("1password-service-account-token", "", &["onepassword_token"], true),
    ("1password-secret-key", "", &["onepassword_key"], true),
    ("anthropic-admin-api-key", "", &["anthropic_admin_key"], true),
    ("anthropic-api-key", "", &["anthropic_key"], true),
    ("aws-access-token", "", &["aws_access_key"], true),
    ("aws_key", "", &["aws_access_key"], true),
    ("aws-amazon-bedrock-api-key-long-lived", "", &["aws_bedrock_key"], true),
    ("aws-amazon-bedrock-api-key-short-lived", "", &["aws_bedrock_key"], true),
    ("azure-ad-client-secret", "", &["azure_client_secret"], true),
    ("azure_storage_key", "", &["azure_storage_key"], true),
    ("basic_auth", "", &["url_password"], true),
    ("sidekiq-sensitive-url", "", &["url_password"], true),
    ("clickhouse-cloud-api-secret-key", "", &["clickhouse_key"], true),
    ("curl-auth-header", "", &["authorization_header", "basic_auth", "generic_secret", "jwt", "openshift_token"], true),
    ("curl-auth-user", "", &["basic_auth"], true),
    ("databricks-api-token", "", &["databricks_token"], true),
    ("discord", "", &["discord_token"], true),
    ("easypost-api-token", "", &["easypost_key"], true),
    ("facebook-access-token", "", &["facebook_token", "secret_field"], true),
    ("facebook-page-access-token", "", &["facebook_token"], true),
    ("flyio-access-token", "", &["flyio_token"], true),
    ("gcp-api-key", "", &["google_api_key"], true),
    ("generic-api-key", "", &["generic_secret"], true),
    ("github-pat", "", &["github_token"], true),
    ("github-fine-grained-pat", "", &["github_token"], true),
    ("github-oauth", "", &["github_token"], true),
    ("github_token", "", &["github_token"], true),
    ("gitlab-pat", "", &["gitlab_token"], true),
    ("gitlab-rrt", "", &["gitlab_token"], true),
    ("gitlab_token", "", &["gitlab_token"], true),
    ("grafana-cloud-api-token", "", &["grafana_token"], true),
    ("grafana-service-account-token", "", &["grafana_token"], true),
    ("hashicorp-tf-api-token", "", &["terraform_token"], true),
    ("huggingface-access-token", "", &["huggingface_token"], true),
    ("huggingface-organization-api-token", "", &["huggingface_token"], true),
    ("infracost-api-token", "", &["infracost_key"], true),
    ("intra42-client-secret", "", &["intra42_secret"], true),
    ("jwt", "", &["jwt"], true),
    ("mailchimp_key", "", &["mailchimp_key"], true),
    ("notion-api-token", "", &["notion_token"], true),
    ("npm", "", &["npm_token"], true),
    ("octopus-deploy-api-key", "", &["octopus_key"], true),
    ("openai", "", &["llm_api_key"], true),
    ("openshift-user-token", "", &["openshift_token"], true),
    ("perplexity-api-key", "", &["perplexity_key"], true),
    ("prefect-api-token", "", &["prefect_key"], true),
    ("private-key", "", &["private_key"], true),
    ("pulumi-api-token", "", &["pulumi_token"], true),
    ("pypi_token", "", &["pypi_token"], true),
    ("readme-api-token", "", &["readme_key"], true),
    ("sendgrid", "", &["sendgrid_key"], true),
    ("slack-bot-token", "", &["slack_token"], true),
    ("slack-config-access-token", "", &["slack_token"], true),
    ("slack-legacy-bot-token", "", &["slack_token"], true),
    ("slack-legacy-token", "", &["slack_token"], true),
    ("slack-legacy-workspace-token", "", &["slack_token"], true),
    ("slack-user-token", "", &["slack_token"], true),
    ("slack-webhook-url", "", &["slack_webhook"], true),
    ("sourcegraph-access-token", "", &["sourcegraph_token"], true),
    ("square-access-token", "", &["square_token"], true),
    ("stripe_key", "", &["stripe_key"], true),
    ("telegram_token", "", &["telegram_token"], true),
    ("vault-service-token", "", &["vault_token"], true),
];

fn lines(file: &str) -> Option<Vec<Value>> {
    #[expect(clippy::disallowed_methods, reason = "the corpora stand outside, and the test is told where")]
    let folder = std::env::var("AEGIS_CORPORA").ok()?;
    #[expect(clippy::disallowed_methods, reason = "the cases are files")]
    let text = std::fs::read_to_string(format!("{folder}/dlp/{file}")).ok()?;
    Some(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// The cases of what is claimed, and how many there are of what isn't.
fn cases() -> Option<(Vec<Case>, usize)> {
    let mut unclaimed = 0;
    let mut of = |value: &Value| {
        let kind = ["recognizer", "plugin", "rule"].iter().find_map(|key| value[*key].as_str()).expect("a kind");
        let text = ["payload", "text", "line"].iter().find_map(|key| value[*key].as_str());
        let marked = value["should_flag"].as_bool().or(value["label"].as_bool());
        let positive = marked.or(value["expected_len"].as_i64().map(|found| found > 0)).expect("a label");
        let Some((claim, text)) = CLAIMED.iter().find(|(name, ..)| *name == kind).zip(text) else {
            unclaimed += 1;
            return None;
        };
        let (_, field, types, also) = *claim;
        let field = if positive || also { field } else { "" };
        Some(Case { kind: kind.to_owned(), text: text.to_owned(), field, types, positive })
    };
    let all = [lines("presidio_dev.jsonl")?, lines("gitleaks_literals.jsonl")?, lines("detect_secrets_cases.jsonl")?]
        .concat();
    let cases = all.iter().filter_map(&mut of).collect();
    Some((cases, unclaimed))
}

/// Whether what a case is about is found in a document.
fn found(case: &Case, document: &str) -> bool {
    let text = !document.starts_with('{');
    let found = if text { scan_text(document, 0, &all()) } else { scan(document, &all()) };
    found.expect("can be read").iter().any(|one| case.types.contains(&one.kind.as_str()))
}

/// The case in a document of its own.
fn document(case: &Case, text: &str) -> String {
    if case.field.is_empty() { text.to_owned() } else { json!({ case.field: text }).to_string() }
}

/// A call that holds a case, told in one way or another; `None` where it can't be told so.
type Disguise = fn(&Case) -> Option<ToolCall>;

const DISGUISES: &[(&str, Disguise)] = &[
    ("json", |case| Some(json_of(case, &case.text))),
    ("json, all letters escaped", |case| {
        let escaped: String = case.text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        Some(post("application/json", &format!(r#"{{"{}":"{escaped}"}}"#, name(case)), json!({})))
    }),
    ("form", |case| {
        let body = form_urlencoded::Serializer::new(String::new()).append_pair(name(case), &case.text).finish();
        Some(post("application/x-www-form-urlencoded", &body, json!({})))
    }),
    ("URL-encoded in JSON", |case| Some(json_of(case, &percent(&case.text)))),
    ("URL-encoded twice in JSON", |case| Some(json_of(case, &percent(&percent(&case.text))))),
    ("query", |case| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair(name(case), &case.text).finish();
        Some(to(&format!("/x?{query}"), post("application/json", "{}", json!({}))))
    }),
    ("path segment", |case| {
        Some(to(
            &format!("/{}/{}", percent(name(case)), percent(&case.text)),
            post("application/json", "{}", json!({})),
        ))
    }),
    ("header", |case| {
        let mut call = to("/x", post("application/json", "{}", json!({})));
        let Payload::Http(request) = &mut call.payload else { return None };
        let header = http::HeaderName::try_from(format!("x-{}", name(case).replace([' ', '_'], "-"))).ok()?;
        request.headers.insert(header, http::HeaderValue::from_bytes(case.text.as_bytes()).ok()?);
        Some(call)
    }),
    ("multipart", |case| {
        let body =
            format!("--b\r\ncontent-disposition: form-data; name=\"{}\"\r\n\r\n{}\r\n--b--\r\n", name(case), case.text);
        Some(post("multipart/form-data; boundary=b", &body, json!({})))
    }),
    ("plain text", |case| Some(post("text/plain", &line(case), json!({})))),
    ("base64", |case| Some(json_of(case, &STANDARD.encode(line(case))))),
    ("base64 ×2", |case| Some(json_of(case, &STANDARD.encode(STANDARD.encode(line(case)))))),
    ("base64 ×3, URL-safe", |case| {
        Some(json_of(case, &URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.encode(URL_SAFE_NO_PAD.encode(line(case))))))
    }),
    ("hexadecimal", |case| {
        Some(json_of(case, &line(case).bytes().map(|byte| format!("{byte:02x}")).collect::<String>()))
    }),
    ("gzip in base64", |case| Some(json_of(case, &STANDARD.encode(gzip(line(case).as_bytes()))))),
    ("gzip body", |case| {
        let mut call = json_of(case, &case.text);
        let Payload::Http(request) = &mut call.payload else { return None };
        let Body::Whole(body) = &request.body else { return None };
        request.body = Body::Whole(gzip(body).into());
        request.headers.insert("content-encoding", http::HeaderValue::from_static("gzip"));
        Some(call)
    }),
    ("UTF-16 body", |case| {
        let mut call = post("application/json; charset=utf-16le", "", json!({}));
        let Payload::Http(request) = &mut call.payload else { return None };
        let body = json!({ name(case): case.text }).to_string();
        request.body = Body::Whole(body.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().into());
        Some(call)
    }),
    ("full-width letters and digits", |case| Some(json_of(case, &case.text.chars().map(wide).collect::<String>()))),
    ("zero-width between letters", |case| {
        Some(json_of(case, &case.text.chars().flat_map(|c| [c, '\u{200b}']).collect::<String>()))
    }),
];

/// The field that a case is told to be of; one that says nothing where it is known by itself.
fn name(case: &Case) -> &'static str {
    if case.field.is_empty() { "note" } else { case.field }
}

/// The case on a line of text.
fn line(case: &Case) -> String {
    if case.field.is_empty() { case.text.clone() } else { format!("{}: {}", case.field, case.text) }
}

fn json_of(case: &Case, text: &str) -> ToolCall {
    post("application/json", &json!({ name(case): text }).to_string(), json!({}))
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn wide(letter: char) -> char {
    match letter {
        '!'..='~' => char::from_u32(letter as u32 + 0xfee0).unwrap_or(letter),
        other => other,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Whether a call doesn't go on with what it holds: it is redacted, or refused.
fn stopped(case: &Case, mut call: ToolCall) -> bool {
    if let Payload::Http(request) = &mut call.payload
        && request.target.query() == Some("to=x%40example.org")
    {
        request.target = "/send".parse().expect("a target");
    }
    match apply(&mut call, &[sanitizer(None)]) {
        Ok(found) => found
            .iter()
            .any(|one| case.types.contains(&one.kind.as_str()) || case.field.is_empty() && one.kind == "secret_field"),
        Err(why) => why.reason != "body_format",
    }
}

/// What is measured is printed as the tables of docs/dlp.md.
#[test]
fn the_corpora_are_found_in_every_disguise() {
    let Some((cases, unclaimed)) = cases() else { return };
    let mut out = format!(
        "{} cases, {unclaimed} more of what isn't claimed\n\n| corpus | found | of | false alarms | of |\n| --- | --- | --- | --- | --- |\n",
        cases.len()
    );
    let mut kinds: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for case in &cases {
        let is = found(case, &document(case, &case.text));
        let row = kinds.entry(&case.kind).or_default();
        let [hits, positives, alarms, negatives] = row;
        let (count, of) = if case.positive { (hits, positives) } else { (alarms, negatives) };
        *count += usize::from(is);
        *of += 1;
    }
    let mut sum = [0; 4];
    let mut samples = [0; 4];
    for (kind, row) in &kinds {
        writeln!(out, "| {kind} | {} | {} | {} | {} |", row[0], row[1], row[2], row[3]).expect("text");
        let total = if *kind == "gcp-api-key" { &mut samples } else { &mut sum };
        total.iter_mut().zip(row).for_each(|(total, one)| *total += one);
    }
    let [hits, positives, alarms, negatives] = sum;
    writeln!(out, "| all but gcp-api-key | {hits} | {positives} | {alarms} | {negatives} |\n\n| told as | stopped | of |\n| --- | --- | --- |").expect("text");
    let mut weakest = 1.0_f64;
    for (told, disguise) in DISGUISES {
        let told_so: Vec<(&Case, ToolCall)> =
            cases.iter().filter(|case| case.positive).filter_map(|case| Some((case, disguise(case)?))).collect();
        let all = told_so.len();
        let missed: Vec<&Case> =
            told_so.into_iter().filter_map(|(case, call)| (!stopped(case, call)).then_some(case)).collect();
        let caught = all - missed.len();
        writeln!(out, "| {told} | {caught} | {all} |").expect("text");
        for case in missed {
            writeln!(out, "<!-- {} {:?} -->", case.kind, case.text.chars().take(90).collect::<String>()).expect("text");
        }
        weakest = weakest.min(ratio(caught, all));
    }
    let (whole, split) = split(&cases);
    writeln!(out, "| split at every place of a stream | {split} | {whole} |").expect("text");
    weakest = weakest.min(ratio(split, whole));
    say(&out);
    assert!(ratio(hits, positives) >= 0.95 && ratio(hits, hits + alarms) >= 0.95 && weakest >= 0.95, "{out}");
}

/// Lock files and manifests hold nothing: of this repository, and of every crate that cargo has unpacked.
#[test]
fn lock_files_and_manifests_are_quiet() {
    if lines("presidio_dev.jsonl").is_none() {
        return;
    }
    let (mut bytes, mut alarms, mut out) = (0, 0, String::new());
    let detector = all();
    for text in manifests() {
        bytes += text.len();
        // Their authors' addresses are addresses.
        let found = scan_text(&text, 0, &detector).expect("can be read").into_iter().filter(|one| one.kind != "email");
        for one in found {
            alarms += 1;
            let (start, end) = (usize::try_from(one.start).expect("short"), usize::try_from(one.end).expect("short"));
            writeln!(out, "{} {:?}", one.kind, text.get(text.floor_char_boundary(start.saturating_sub(40))..end))
                .expect("text");
        }
    }
    let megabytes = bytes as f64 / 1e6;
    say(&format!("{alarms} false alarms in {megabytes:.1} MB of lock files and manifests\n{out}"));
    assert!(f64::from(alarms) <= megabytes.max(1.0), "{out}");
}

#[expect(clippy::disallowed_methods, reason = "the cases are files")]
fn manifests() -> Vec<String> {
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let sources = std::fs::read_dir(format!("{home}/registry/src")).into_iter().flatten().flatten();
    let crates = sources
        .flat_map(|source| std::fs::read_dir(source.path()).into_iter().flatten().flatten())
        .map(|entry| entry.path());
    let folders = crates.chain(["", "fuzz", "bench"].map(|folder| std::path::Path::new(root).join(folder)));
    let names =
        ["Cargo.toml", "Cargo.lock", "Cargo.toml.orig", ".cargo_vcs_info.json", "package.json", "package-lock.json"];
    folders
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect()
}

/// Of the cases that a scan of a whole text finds, those that are found as well wherever that text is cut in two.
fn split(cases: &[Case]) -> (usize, usize) {
    let filler = "The quick brown fox jumps over the lazy dog, again and again.\n".repeat(12);
    let detector = all();
    let short = cases.iter().filter(|case| case.positive && case.text.len() < 400);
    let texts = short.map(|case| (case, format!("{filler}{}\n{filler}", line(case))));
    let whole: Vec<_> = texts.filter(|(case, text)| found(case, text)).collect();
    let found_split = |(case, text): &&(&Case, String)| {
        let end = filler.len() + line(case).len();
        (filler.len()..end).filter(|at| text.is_char_boundary(*at)).step_by(1 + line(case).len() / 40).all(|at| {
            let mut scanner = Scanner::of(&detector, 64, 600);
            let mut found = scanner.push(&text[..at]).expect("read");
            found.extend(scanner.push(&text[at..]).expect("read"));
            found.extend(scanner.finish().expect("read"));
            found.iter().any(|one| case.types.contains(&one.kind.as_str()))
        })
    };
    (whole.len(), whole.iter().filter(found_split).count())
}

fn ratio(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

#[expect(clippy::print_stdout, clippy::disallowed_macros, reason = "a report is to be read")]
fn say(text: &str) {
    println!("{text}");
}

#[test]
#[ignore = "told by AEGIS_CORPORA; prints what is missed"]
fn misses() {
    let (cases, _) = cases().expect("corpora");
    let mut out = String::new();
    for case in cases {
        if found(&case, &document(&case, &case.text)) != case.positive {
            let what = if case.positive { "missed" } else { "false" };
            writeln!(
                out,
                "{what} {} {:?} {:?}",
                case.kind,
                case.text.chars().take(140).collect::<String>(),
                scan_text(&case.text, 0, &all())
            )
            .expect("text");
        }
    }
    say(&out);
}
