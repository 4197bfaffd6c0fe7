//! The four stories. Each call is real; each check is on what the agent was told and on what the tool received.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::Method;
use serde_json::{Value, json};

use super::caller::{Answer, Caller};
use super::stage::{Stage, Step};
use super::tools::Tools;
use crate::operator::{Operator, segment};

/// The digest that the starter policy lists, and one that it doesn't.
const LISTED: &str = "sha256:be6fb7785d9369b63b77690fd08cc1a8f04305388e72962628c36fd9e2cce2ac";
const UNLISTED: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000bad";
const DEPLOYMENT: &str = "/r/k8s/apis/apps/v1/namespaces/shop/deployments/web";
/// How many calls a loop makes, more than the starter policy's burst.
const LOOP: usize = 40;
/// How long a human may take in `--approve manual`.
const HUMAN: Duration = Duration::from_mins(15);

/// What a story plays with.
pub(super) struct World<'a> {
    pub(super) callers: Vec<Caller>,
    pub(super) operator: Operator,
    pub(super) policies: PathBuf,
    pub(super) config: PathBuf,
    pub(super) manual: bool,
    pub(super) tools: &'a Tools,
}

/// Tells all four.
///
/// # Errors
/// What kept a story from being told to its end.
pub(super) async fn tell(world: &World<'_>, stage: &mut Stage) -> Result<()> {
    too_many_replicas(world, stage).await?;
    unlisted_image(world, stage).await?;
    ssh(world, stage).await?;
    payment(world, stage).await
}

async fn too_many_replicas(world: &World<'_>, stage: &mut Stage) -> Result<()> {
    stage.begin(
        "An agent asks for 200 replicas",
        "deploy: max_replicas 50; at most 10 calls a second, 20 at once; a daily budget",
    );
    let agent = world.caller("deploy-manager")?;

    let before = world.tools.kubernetes.seen();
    let answer = scale(agent, &json!(200)).await?;
    let after = world.tools.kubernetes.seen();
    let step = Step {
        who: agent.name,
        asks: "scale deployment shop/web (staging) to 200 replicas".to_owned(),
        answer: &answer,
        reached: format!("{}; it runs {} replicas", count(after.writes - before.writes, "write"), after.replicas),
    };
    let checks = [
        (answer.status == 403 && answer.code == "PolicyViolation", "it is refused as a PolicyViolation"),
        (answer.rules.iter().any(|rule| rule == "max_replicas"), "the refusal names max_replicas"),
        (after.writes == before.writes && after.replicas == before.replicas, "nothing reached the cluster"),
    ];
    stage.step(&step, &checks);

    let answer = scale(agent, &json!("50")).await?;
    let after = world.tools.kubernetes.seen();
    let step = Step {
        who: agent.name,
        asks: "the same with \"50\", a text".to_owned(),
        answer: &answer,
        reached: count(after.writes - before.writes, "write"),
    };
    stage.step(&step, &[(answer.status == 403 && after.writes == before.writes, "a text is refused")]);

    let answer = scale(agent, &json!(50)).await?;
    let after = world.tools.kubernetes.seen();
    let step = Step {
        who: agent.name,
        asks: "scale it to 50 replicas".to_owned(),
        answer: &answer,
        reached: format!("{}; it runs {} replicas", count(after.writes - before.writes, "write"), after.replicas),
    };
    let checks = [
        (answer.status == 200 && answer.decision == "allow", "it is allowed"),
        (after.replicas == 50 && after.writes == before.writes + 1, "exactly one write reached the cluster"),
        (after.strangers == 0, "the agent's token never reached the cluster"),
    ];
    stage.step(&step, &checks);
    runaway_loop(world, stage).await?;
    used_up(world, stage).await?;
    stage.end();
    Ok(())
}

async fn runaway_loop(world: &World<'_>, stage: &mut Stage) -> Result<()> {
    let agent = world.caller("deploy-manager")?;
    let before = world.tools.kubernetes.seen().writes;
    let fifty = json!(50);
    let mut answers = Vec::new();
    for _ in 0..LOOP {
        answers.push(scale(agent, &fifty).await?);
    }
    let reached = world.tools.kubernetes.seen().writes - before;
    let allowed = answers.iter().filter(|answer| answer.status == 200).count();
    let limited = answers.iter().find(|answer| answer.code == "RateLimited").cloned().unwrap_or_default();
    let step = Step {
        who: agent.name,
        asks: format!("the same {LOOP} times in a loop"),
        answer: &limited,
        reached: format!(
            "{} of {LOOP}; the others are told to wait {} s",
            count(reached, "write"),
            limited.retry_after.unwrap_or(0)
        ),
    };
    let checks = [
        (limited.status == 429 && limited.retry_after.is_some(), "the loop is told to wait"),
        (allowed < LOOP && u64::try_from(allowed).ok() == Some(reached), "only what was allowed reached the cluster"),
    ];
    stage.step(&step, &checks);

    tokio::time::sleep(Duration::from_secs(limited.retry_after.unwrap_or(1))).await;
    let answer = scale(agent, &fifty).await?;
    let more = world.tools.kubernetes.seen().writes - before - reached;
    let asks = "once more, after waiting as told".to_owned();
    let step = Step { who: agent.name, asks, answer: &answer, reached: count(more, "write") };
    stage.step(&step, &[(answer.status == 200 && more == 1, "it passes again")]);
    Ok(())
}

/// A budget for the day, beside the maximum for each call.
async fn used_up(world: &World<'_>, stage: &mut Stage) -> Result<()> {
    let agent = world.caller("autoscaler")?;
    for (replicas, asks, code, named) in [
        (
            200,
            "scale it to 200 replicas, with a daily budget of 120",
            "PolicyViolation",
            &["max_replicas", "daily_budget"][..],
        ),
        (50, "scale it to 50 replicas", "", &[]),
        (50, "50 again: 100 of 120 are spent then", "", &[]),
        (50, "50 once more", "BudgetExceeded", &["daily_budget"]),
    ] {
        let before = world.tools.kubernetes.seen().writes;
        let answer = scale(agent, &json!(replicas)).await?;
        let writes = world.tools.kubernetes.seen().writes - before;
        let step = Step { who: agent.name, asks: asks.to_owned(), answer: &answer, reached: count(writes, "write") };
        let checks = [
            (answer.code == code, "it is answered as it should be"),
            (named.iter().all(|rule| answer.rules.iter().any(|one| one == rule)), "every rule that it breaks is named"),
            (writes == u64::from(code.is_empty()), "only what fits reached the cluster"),
        ];
        stage.step(&step, &checks);
    }
    Ok(())
}

async fn unlisted_image(world: &World<'_>, stage: &mut Stage) -> Result<()> {
    stage.begin("An image that nobody listed", "deploy: allowed_images lists one digest");
    let agent = world.caller("deploy-manager")?;
    let before = world.tools.kubernetes.seen();
    let unlisted = format!("registry.example.com/shop@{UNLISTED}");
    for (image, asks) in [
        (unlisted.as_str(), "deploy registry.example.com/shop@sha256:0000…0bad"),
        ("registry.example.com/shop:latest", "deploy registry.example.com/shop:latest, a tag without a digest"),
    ] {
        let answer = set_image(agent, image).await?;
        let after = world.tools.kubernetes.seen();
        let reached = format!("{}; {} runs", count(after.writes - before.writes, "write"), after.image);
        let step = Step { who: agent.name, asks: asks.to_owned(), answer: &answer, reached };
        let checks = [
            (answer.status == 403 && answer.code == "PolicyViolation", "it is refused as a PolicyViolation"),
            (answer.rules.iter().any(|rule| rule == "allowed_images"), "the refusal names allowed_images"),
            (after.writes == before.writes && after.image == before.image, "nothing reached the cluster"),
        ];
        stage.step(&step, &checks);
    }
    let listed = format!("registry.example.com/shop@{LISTED}");
    let answer = set_image(agent, &listed).await?;
    let after = world.tools.kubernetes.seen();
    let reached = format!("{}; the listed image runs", count(after.writes - before.writes, "write"));
    let step = Step { who: agent.name, asks: "deploy the listed digest".to_owned(), answer: &answer, reached };
    stage.step(&step, &[(answer.status == 200 && after.image == listed, "the listed image is deployed")]);

    opt_in(world, stage).await?;
    let set = async |agent: &Caller| set_image(agent, &unlisted).await;
    let writes = |tools: &Tools| tools.kubernetes.seen().writes;
    asked_and_spent_once(world, stage, "deploy-manager", "the unlisted digest again", set, writes).await?;
    let image = world.tools.kubernetes.seen().image;
    if image != unlisted {
        bail!("the approved image isn't the one that runs: {image}");
    }
    stage.end();
    Ok(())
}

/// The operator changes the policy: the image rule asks a human from now on.
async fn opt_in(world: &World<'_>, stage: &Stage) -> Result<()> {
    let file = world.policies.join("deploy.yaml");
    let text = std::fs::read_to_string(&file).context("the starter policy is gone")?;
    let opted_in = text.replace("    # on_violation:", "    on_violation:");
    if opted_in == text {
        bail!("the starter policy has no commented on_violation any more");
    }
    std::fs::write(&file, opted_in).context("the policy can't be changed")?;
    let loaded = world.operator.call(Method::POST, "/v1/policies/reload", None).await?;
    let version = loaded.get("version").and_then(Value::as_str).unwrap_or("?");
    stage.note(
        "the operator",
        &format!("opts in: on_violation: {{allowed_images: approval_needed}} (policy {version})"),
    );
    Ok(())
}

/// A call that needs a human: asked, approved, made once; a second repeat asks again.
async fn asked_and_spent_once(
    world: &World<'_>,
    stage: &mut Stage,
    who: &'static str,
    what: &str,
    call: impl AsyncFn(&Caller) -> Result<Answer>,
    reached: impl Fn(&Tools) -> u64,
) -> Result<()> {
    let before = reached(world.tools);
    let answer = call(world.caller(who)?).await?;
    let since = || count(reached(world.tools) - before, "call");
    let step = Step { who, asks: what.to_owned(), answer: &answer, reached: since() };
    let asked = answer.status == 403 && answer.code == "ApprovalNeeded" && answer.approval.is_some();
    stage.step(&step, &[(asked, "a human is asked"), (reached(world.tools) == before, "nothing reached the tool")]);
    let first = answer.approval.context("the gateway asked nobody")?;

    world.approve(&first, stage).await?;
    let answer = call(world.caller(who)?).await?;
    let asks = "repeats exactly the same call".to_owned();
    let step = Step { who, asks, answer: &answer, reached: since() };
    let once = reached(world.tools) == before + 1;
    stage.step(&step, &[(answer.decision == "allow", "it is allowed"), (once, "exactly one call reached the tool")]);

    let answer = call(world.caller(who)?).await?;
    let reached_now = format!("{} in all: an approval is good for one", since());
    let step = Step { who, asks: "and once more, a replay".to_owned(), answer: &answer, reached: reached_now };
    let again = answer.code == "ApprovalNeeded" && answer.approval.as_ref().is_some_and(|id| *id != first);
    let still = reached(world.tools) == before + 1;
    stage.step(&step, &[(again, "a human is asked anew"), (still, "the replay didn't reach the tool")]);
    Ok(())
}

async fn ssh(world: &World<'_>, stage: &mut Stage) -> Result<()> {
    stage.begin("An agent wants to SSH out", "egress: api.example.com:443, status.example.com, mirror.example.com:443");
    let agent = world.caller("ci-runner")?;

    let (answer, _) = agent.ssh("bastion.example.net:22").await?;
    let bytes = world.tools.ssh.seen_later().await.bytes;
    let step = Step {
        who: agent.name,
        asks: "CONNECT bastion.example.net:22".to_owned(),
        answer: &answer,
        reached: count(bytes, "byte"),
    };
    let checks = [
        (answer.status == 403 && answer.code == "PolicyViolation", "there is no tunnel"),
        (bytes == 0, "not a byte reached the SSH server"),
    ];
    stage.step(&step, &checks);

    let (answer, back) = agent.ssh("mirror.example.com:443").await?;
    let bytes = world.tools.ssh.seen_later().await.bytes;
    let step = Step {
        who: agent.name,
        asks: "CONNECT mirror.example.com:443, a listed host, and speaks SSH inside".to_owned(),
        answer: &answer,
        reached: format!(
            "{}, and {} came back: a tunnel carries TLS or is cut off",
            count(bytes, "byte"),
            count(back.len() as u64, "byte")
        ),
    };
    let checks = [(bytes == 0, "not a byte reached the SSH server"), (back.is_empty(), "not a byte came back")];
    stage.step(&step, &checks);

    let answer = agent.get("http://status.example.com/").await?;
    let requests = world.tools.outside.seen().requests;
    let step = Step {
        who: agent.name,
        asks: "GET http://status.example.com/".to_owned(),
        answer: &answer,
        reached: count(requests, "request"),
    };
    stage.step(&step, &[(answer.status == 200 && requests == 1, "the listed site is reached")]);

    let answer = agent.get("http://169.254.169.254/latest/meta-data/").await?;
    let asks = "GET http://169.254.169.254/ (where clouds keep credentials)".to_owned();
    let more = world.tools.outside.seen().requests - requests;
    let step = Step { who: agent.name, asks, answer: &answer, reached: count(more, "request") };
    stage.step(&step, &[(answer.status == 403 && more == 0, "the metadata address is refused")]);
    stage.end();
    Ok(())
}

async fn payment(world: &World<'_>, stage: &mut Stage) -> Result<()> {
    stage.begin("A payment above the limit", "pay: ask a human above 500; nobody can say yes above 10000");
    let pay = async |agent: &Caller| pay(agent, 900).await;
    let payments = |tools: &Tools| u64::try_from(tools.payments.seen().amounts.len()).unwrap_or(u64::MAX);
    asked_and_spent_once(world, stage, "billing-agent", "pays 900 EUR to acme", pay, payments).await?;

    let agent = world.caller("billing-agent")?;
    let answer = self::pay(agent, 50_000).await?;
    let amounts = world.tools.payments.seen().amounts;
    let step = Step {
        who: agent.name,
        asks: "pays 50000 EUR to acme".to_owned(),
        answer: &answer,
        reached: format!(
            "the ledger has {} in all, {} EUR",
            count(amounts.len() as u64, "payment"),
            amounts.iter().sum::<f64>()
        ),
    };
    let checks = [
        (answer.status == 403 && answer.code == "PolicyViolation", "it is refused, and no human is asked"),
        (answer.rules.iter().any(|rule| rule == "max_amount"), "the refusal names max_amount"),
        (amounts == [900.0], "exactly one payment was made"),
    ];
    stage.step(&step, &checks);
    stage.end();
    Ok(())
}

/// So many of something, in words.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl World<'_> {
    fn caller(&self, name: &str) -> Result<&Caller> {
        self.callers.iter().find(|caller| caller.name == name).with_context(|| format!("no agent {name} in the demo"))
    }

    /// A human says yes: by itself, or by waiting for the one who watches.
    async fn approve(&self, id: &str, stage: &Stage) -> Result<()> {
        let path = format!("/v1/approvals/{}", segment(id));
        if !self.manual {
            let comment = json!({"comment": "the demo's human"});
            self.operator.call(Method::POST, &format!("{path}/approve"), Some(comment)).await?;
            stage.note("a human", &format!("approves {id}"));
            return Ok(());
        }
        let command = format!("{} approvals approve {id} --config {}", super::own_name(), self.config.display());
        stage.note("you", &format!("are asked; in another terminal:\n  {command}"));
        let state = async || -> Result<String> {
            let approval = self.operator.call(Method::GET, &path, None).await?;
            Ok(approval.get("state").and_then(Value::as_str).unwrap_or_default().to_owned())
        };
        let answered = async {
            loop {
                let state = state().await?;
                if state != "pending" {
                    return Ok::<String, anyhow::Error>(state);
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        };
        let state = tokio::time::timeout(HUMAN, answered).await.context("nobody answered")??;
        stage.note("you", &format!("said: {state}"));
        Ok(())
    }
}

/// `kubectl scale`, as it is on the wire.
async fn scale(agent: &Caller, replicas: &Value) -> Result<Answer> {
    let body = json!({"spec": {"replicas": replicas}});
    agent.route(Method::PATCH, &format!("{DEPLOYMENT}/scale"), "application/merge-patch+json", &body).await
}

/// `kubectl set image`, as it is on the wire.
async fn set_image(agent: &Caller, image: &str) -> Result<Answer> {
    let containers = json!([{"name": "web", "image": image}]);
    let body = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    agent.route(Method::PATCH, DEPLOYMENT, "application/strategic-merge-patch+json", &body).await
}

async fn pay(agent: &Caller, amount: u64) -> Result<Answer> {
    let body = json!({"amount": amount, "currency": "EUR", "to": "acme"});
    agent.route(Method::POST, "/r/payments/v1/payments", "application/json", &body).await
}
