//! AuthZEN evaluations: the decision API over kept HTTP connections.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use serde_json::{Value, json};

use crate::contest::{self, Contender, Plan, named};
use crate::dial::Way;
use crate::load::Target;
use crate::process::{Home, Serving};
use crate::report::Section;

const PLAN: Plan = Plan { rounds: 5, rate: 1_000, open: Duration::from_secs(2), closed: Duration::from_secs(1) };
const AGENT: &str = "deploy-manager";
const POLICY: &str = "agent: deploy-manager\nactions:\n  - name: deploy\n    allowed_environments: [staging]\n    \
    approval_needed: env == \"production\"\n    max_replicas: 50\n";
const CONFIG: &str = "environments:\n  - {match: {tool: deploy, param: {environment: staging}}, env: staging}\n";

pub(crate) fn run(aegis: &Path, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut gateways = Vec::new();
    let mut contenders = Vec::new();
    for (name, durability) in [("durable", "commit"), ("buffered", "buffered")] {
        let config = format!("{CONFIG}audit: {{durability: {durability}}}\n");
        let home = Home::configured(aegis, scratch, &config, [(AGENT.to_owned(), POLICY.to_owned())])?;
        let token = home.token(AGENT)?;
        let Serving { process, api, .. } = home.serve()?;
        let ask = |replicas: u32| -> Result<Request<Bytes>> {
            Ok(Request::post("/access/v1/evaluation")
                .header(HOST, api.to_string())
                .header(AUTHORIZATION, format!("Bearer {token}"))
                .header(CONTENT_TYPE, "application/json")
                .body(Bytes::from(question(replicas).to_string()))?)
        };
        let refused = runtime.block_on(async { Way::plain(api).connect().await?.send(ask(51)?).await })?.1;
        ensure!(!is_yes(&refused), "51 replicas are refused: {}", String::from_utf8_lossy(&refused));
        let target = Target { is_answer: is_yes, ..Target::new(Way::plain(api), ask(12)?)? };
        contenders.push(Contender::new(name, target, Some(&process)));
        gateways.push((home, process));
    }
    contest::requests(&runtime, &mut contenders, PLAN)?;
    let all = contest::results(contenders)?;
    for ((home, process), one) in gateways.into_iter().zip(&all) {
        process.stop().context("aegis")?;
        runtime.block_on(home.has_recorded(one.calls))?;
    }
    let mut rows = Vec::new();
    for one in &all {
        rows.push(one.at_a_rate(None, PLAN.rate)?);
    }
    for one in &all {
        rows.push(one.at_most(named(&all, "durable")?)?);
    }
    let note = format!(
        "`POST /access/v1/evaluation` with 32 kept connections: token, question read, policy with an environment and a maximum, record, \
         answer. Nothing is forwarded, so the whole time is what a decision adds. 51 replicas are refused before anything is measured. \
         {} interleaved rounds of {} s and {} s, the one in the middle; as fast as it goes: durable, what the row names, how many times \
         that durable does. {}",
        PLAN.rounds,
        PLAN.open.as_secs(),
        PLAN.closed.as_secs(),
        contest::verdict_of_all(&all)?,
    );
    Ok(Section { title: "AuthZEN", note, rows })
}

fn question(replicas: u32) -> Value {
    json!({
        "subject": {"type": "agent", "id": AGENT},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool", "id": "deploy", "properties": {"arguments": {"environment": "staging", "replicas": replicas}}},
    })
}

/// Whether an answer says yes.
fn is_yes(answer: &[u8]) -> bool {
    serde_json::from_slice::<Value>(answer).is_ok_and(|answer| answer.get("decision") == Some(&Value::Bool(true)))
}
