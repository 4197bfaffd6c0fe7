//! How long the gateway takes from its start until it says that it is ready, and how large it is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::process::{Home, Serving};
use crate::report::{Row, Section, Times};

const STARTS: usize = 10;

pub(crate) fn run(aegis: &Path, scratch: &Path) -> Result<Section> {
    let mut rows = Vec::new();
    for agents in [1, 10, 1_000, 10_000] {
        let (mut first, mut again, mut memory) = (Times::new(), Times::new(), 0);
        for _ in 0..STARTS {
            let home = Home::new(aegis, scratch, agents, SocketAddr::from(([127, 0, 0, 1], 9)), "")?;
            first.add(start(&home)?.0);
            let (took, resident) = start(&home)?;
            again.add(took);
            memory = resident;
            if agents > 1_000 {
                break;
            }
        }
        rows.push(Row::latencies(format!("start to ready, {agents} policies, new data directory"), &first));
        let row = Row::latencies(format!("start to ready, {agents} policies, again"), &again);
        rows.push(Row { memory: format!("{:.1} MB", memory as f64 / 1024.0), ..row });
    }
    let size = std::fs::metadata(aegis)?.len();
    rows.push(Row { memory: format!("{:.1} MB", size as f64 / 1e6), ..Row::new("size of the binary") });
    let note = format!(
        "`aegis serve` of {STARTS} new data directories (keys, CA and database are made), and of each once more; of 10,000 policies \
         only one. The time is from the start of the process to its line `\"ready\":true`, every port bound. **Aim:** under 200 ms. \
         Memory: resident when ready.",
    );
    Ok(Section { title: "Start", note, rows })
}

fn start(home: &Home) -> Result<(Duration, u64)> {
    let Serving { process, took, .. } = home.serve()?;
    let (resident, _) = process.memory()?;
    process.stop()?;
    Ok((took, resident))
}
