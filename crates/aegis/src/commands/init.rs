//! `aegis init`: a folder to start from. Nothing that is there is overwritten.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::print;
use crate::cli::Global;

/// What is written: file name and text. The policies are the starter pack, each with its cases.
pub(crate) const TEMPLATES: [(&str, &str); 14] = [
    ("aegis.yaml", include_str!("../../templates/aegis.yaml")),
    ("policies/deploy.yaml", include_str!("../../../../policies/deploy.yaml")),
    ("policies/deploy.test.yaml", include_str!("../../../../policies/deploy.test.yaml")),
    ("policies/egress.yaml", include_str!("../../../../policies/egress.yaml")),
    ("policies/egress.test.yaml", include_str!("../../../../policies/egress.test.yaml")),
    ("policies/freeze.yaml", include_str!("../../../../policies/freeze.yaml")),
    ("policies/freeze.test.yaml", include_str!("../../../../policies/freeze.test.yaml")),
    ("policies/llm.yaml", include_str!("../../../../policies/llm.yaml")),
    ("policies/llm.test.yaml", include_str!("../../../../policies/llm.test.yaml")),
    ("policies/order.yaml", include_str!("../../../../policies/order.yaml")),
    ("policies/order.test.yaml", include_str!("../../../../policies/order.test.yaml")),
    ("policies/payments.yaml", include_str!("../../../../policies/payments.yaml")),
    ("policies/payments.test.yaml", include_str!("../../../../policies/payments.test.yaml")),
    ("tools/payments.yaml", include_str!("../../templates/payments.yaml")),
];

pub(super) fn run(dir: &Path, global: &Global) -> Result<()> {
    let mut there = TEMPLATES.iter().map(|(name, _)| *name).filter(|name| dir.join(name).exists());
    if let Some(first) = there.next() {
        let more = match there.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        bail!("{} has {first}{more} already: nothing was written; name another folder", dir.display());
    }
    for (name, text) in TEMPLATES {
        let path = dir.join(name);
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("can't write {}", path.display()))?;
    }
    let names: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).collect();
    print(global, &json!({"dir": dir, "written": names}), |_| {
        // Commands read the `aegis.yaml` of the folder that they are started in.
        let enter = if dir == Path::new(".") { String::new() } else { format!("  cd {}\n", dir.display()) };
        format!(
            "written to {}: {}\n\nnext:\n{enter}  edit aegis.yaml      # your routes and environments\n  \
             aegis policy test\n  aegis serve --check\n  aegis agent add deploy-manager\n  aegis serve\n",
            dir.display(),
            names.join(", ")
        )
    })
}
