//! Container image references, by the OCI grammar (distribution-spec; the forms of `distribution/reference`).
//!
//! Own code, held against `oci-spec` by a property test: that crate's one regular expression took most of the time of
//! describing a call and 10 MiB of memory on each thread.

use super::Image;

/// The registry that a name without one means, and its older name.
const HUB: &str = "docker.io";
const HUB_LEGACY: &str = "index.docker.io";
/// Longest repository, in bytes.
const NAME_MAX: usize = 255;

impl Image {
    /// Reads an image reference. What isn't one keeps its text and has neither repository nor digest, so that no rule that
    /// lists images can be kept by it.
    pub fn read(text: &str) -> Self {
        let (repository, digest) = parse(text).unzip();
        Self { reference: text.to_owned(), repository, digest: digest.flatten().and_then(self::digest) }
    }
}

/// `[registry/]path[:tag][@digest]` → the repository in full, and the digest as it is written.
fn parse(text: &str) -> Option<(String, Option<&str>)> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first.to_ascii_lowercase(), path),
        _ => (HUB.to_owned(), name),
    };
    let well_formed = is_registry(&registry)
        && path.len() <= NAME_MAX
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    let registry = if registry == HUB_LEGACY { HUB.to_owned() } else { registry };
    let library = if registry == HUB && !path.contains('/') { "library/" } else { "" };
    well_formed.then(|| (format!("{registry}/{library}{path}"), digest))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label) && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Runs of `a-z0-9`, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(alphanumeric).filter(|between| !between.is_empty());
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && separators
            .into_iter()
            .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Of the registered algorithms, with their lengths.
fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return false,
        };
        hex.len() == length && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// `sha256:` and 64 hexadecimal digits in lower case (OCI image-spec, descriptor, digests); nothing else is a digest here.
pub(crate) fn digest(text: &str) -> Option<String> {
    let hex = text.strip_prefix("sha256:")?;
    let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    valid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use oci_spec::distribution::Reference;
    use proptest::prelude::*;

    use super::*;

    fn repository(text: &str) -> Option<String> {
        Image::read(text).repository
    }

    #[test]
    fn a_name_is_read_in_full() {
        for (text, full) in [
            ("nginx", "docker.io/library/nginx"),
            ("index.docker.io/nginx:1.27", "docker.io/library/nginx"),
            ("acme/app", "docker.io/acme/app"),
            ("localhost/app", "localhost/app"),
            ("Registry.Acme.io:5000/a/b__c:v1", "registry.acme.io:5000/a/b__c"),
            ("registry:5000/app", "registry:5000/app"),
            ("app:5000", "docker.io/library/app"),
        ] {
            assert_eq!(repository(text).as_deref(), Some(full), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_has_no_repository() {
        let long = "a".repeat(256);
        for text in [
            "",
            "/a",
            "a/",
            "a//b",
            "A/b",
            "a b",
            "a:",
            "a@",
            "a@sha256:12",
            "a@md5:00",
            "a..b",
            "a___b",
            "-a",
            "é",
            "a:b:c",
        ] {
            assert_eq!(repository(text), None, "{text}");
        }
        assert_eq!(repository(&long), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_read_as_oci_spec_reads_it(
            text in "(([a-z]{1,3}|localhost|docker\\.io|index\\.docker\\.io)([.:][a-z0-9]{1,3})?/)?[a-z0-9]{1,3}([._/-]{0,3}[a-z0-9]{1,2}){0,3}(:[a-zA-Z0-9_.-]{0,5})?(@sha256:[a-f0-9]{64})?"
        ) {
            let theirs = text.parse::<Reference>().ok();
            if let Some((repository, digest)) = parse(&text) {
                let theirs = theirs.expect("it reads all that we read");
                prop_assert_eq!(repository, format!("{}/{}", theirs.registry(), theirs.repository()));
                prop_assert_eq!(digest, theirs.digest());
            }
        }

        #[test]
        fn nothing_else_is_read(text in ".{0,40}") {
            prop_assert!(parse(&text).is_none() || text.parse::<Reference>().is_ok());
        }
    }
}
