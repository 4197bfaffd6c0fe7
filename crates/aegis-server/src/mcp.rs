//! The MCP servers of a gateway, and what is remembered of them while it runs: whose sessions are whose, and what their tools'
//! headers mirror. What must outlive a restart (the tools' hashes) is the store's.
//!
//! Invariant: a session is the agent's that opened it. One that isn't known (the gateway was started anew, or it is a guess) is
//! nobody's, and its client begins another. Deliberately absent: the protocol (the core's), and what travels (`intercept`'s).

mod state;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aegis_core::agent::Agent;
use aegis_core::call::{McpRequest, Payload, ToolCall};
use aegis_core::mcp::headers::Mirror;
use aegis_core::mcp::tools::Definition;
use aegis_core::mcp::{Kind, Message, Server};
use aegis_core::problem::Violation;
use aegis_store::{McpTool, Store};
use http::uri::PathAndQuery;
use jiff::Timestamp;
use moka::sync::Cache;
pub(crate) use state::StateKey;

/// How many sessions are known at once, over all servers.
const SESSIONS: u64 = 100_000;
/// How long a session is known that nobody uses.
const SESSION_IDLE: Duration = Duration::from_secs(24 * 60 * 60);
/// How many tools of a server are known by what their headers mirror.
const MIRRORED: usize = 10_000;

/// The rule of a call that names a session which isn't its agent's.
pub(crate) const SESSION_RULE: &str = "mcp_session";
/// The rule of a call of a tool that isn't what it was.
pub(crate) const TOOL_RULE: &str = "mcp_tool";

/// One configured server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpSettings {
    /// Its name, and which of its tools are actions of the catalogue.
    pub server: Server,
    /// The route that leads to it; `None` where the agent's side runs it, behind `aegis mcp`.
    pub route: Option<String>,
    /// The path of its one endpoint.
    pub path: PathAndQuery,
    /// Whether Aegis proves itself to it.
    pub credential: bool,
    /// The hashes that its tools must have, where the operator says so.
    pub pinned: BTreeMap<String, String>,
    /// The origins of web pages that may use it, beside those of this machine.
    pub origins: Vec<String>,
}

/// A server, and what is known of it.
pub struct McpServer {
    settings: McpSettings,
    store: Store,
    /// A session's id → the agent that opened it.
    sessions: Cache<String, String>,
    known: RwLock<HashMap<String, Known>>,
    state_key: StateKey,
}

/// What a tool's definition says about its calls.
#[derive(Debug, Clone)]
struct Known {
    mirrors: Vec<Mirror>,
    typed: bool,
}

impl McpServer {
    /// A server of which nothing is known yet but what the store remembers.
    pub fn new(settings: McpSettings, store: Store) -> Arc<Self> {
        let sessions = Cache::builder().max_capacity(SESSIONS).time_to_idle(SESSION_IDLE).build();
        Arc::new(Self { settings, store, sessions, known: RwLock::default(), state_key: StateKey::random() })
    }

    /// Its name, and which of its tools are actions of the catalogue.
    pub(crate) fn server(&self) -> &Server {
        &self.settings.server
    }

    /// Whether the agent's side runs it.
    pub(crate) fn is_bridged(&self) -> bool {
        self.settings.route.is_none()
    }

    /// The name that its tools are remembered under. What a server says that an agent's side runs is that agent's word: it changes
    /// nothing for another.
    fn remembered(&self, agent: &Agent) -> String {
        let name = &self.settings.server.name;
        if self.is_bridged() { format!("{name}@{}", agent.id) } else { name.clone() }
    }

    pub(crate) fn settings(&self) -> &McpSettings {
        &self.settings
    }

    /// What it gives clients to bring back is signed with this.
    pub(crate) fn state_key(&self) -> &StateKey {
        &self.state_key
    }

    /// The arguments that the headers of a tool's calls mirror; `None` when the tool was never listed.
    pub(crate) fn mirrors(&self, tool: &str) -> Option<Vec<Mirror>> {
        self.known().get(tool).map(|known| known.mirrors.clone())
    }

    /// Whether a tool says what its results look like.
    pub(crate) fn is_typed(&self, tool: &str) -> bool {
        self.known().get(tool).is_some_and(|known| known.typed)
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a list of its tools, on disk before it returns.
    ///
    /// # Errors
    /// It can't be noted: the list may not be shown.
    pub(crate) async fn see(&self, agent: &Agent, definitions: &[Definition]) -> Result<(), aegis_store::StoreError> {
        self.store.see_mcp_tools(&self.remembered(agent), definitions).await?;
        if self.is_bridged() {
            // Headers mirror nothing there.
            return Ok(());
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for one in definitions {
            if known.len() < MIRRORED || known.contains_key(&one.name) {
                known.insert(one.name.clone(), Known { mirrors: one.mirrors.clone(), typed: one.typed });
            }
        }
        Ok(())
    }

    /// Why a listed tool isn't shown.
    pub(crate) fn distrusted(&self, agent: &Agent, one: &Definition) -> Option<Violation> {
        if let Some(pinned) = self.settings.pinned.get(&one.name) {
            return (*pinned != one.hash).then(|| changed(&one.name));
        }
        match self.store.mcp_tool(&self.remembered(agent), &one.name) {
            Some(known) if known.seen == one.hash => distrusted(&known),
            _ => Some(changed(&one.name)),
        }
    }

    /// What denies a call before any policy is asked: another's session, or a tool that isn't what it was.
    pub(crate) fn guard(
        &self,
        agent: &Agent,
        call: &ToolCall,
        session: Option<&str>,
        state: Option<&str>,
    ) -> Option<Violation> {
        if let Some(session) = session
            && self.sessions.get(session).as_deref() != Some(agent.id.as_str())
        {
            let message = "this session is not known here: begin another one";
            return Some(Violation::of_gateway(SESSION_RULE, "unknown", message));
        }
        let Payload::Mcp(McpRequest { message: Some(message), .. }) = &call.payload else { return None };
        if let Some(state) = state
            && !self.state_key.holds(state, &agent.id, message, Timestamp::now())
        {
            let message = "what this call brings back was not given for it, or is too old: make the call without it";
            return Some(Violation::of_gateway("mcp_request_state", "not_for_this_call", message));
        }
        if message.kind() == Kind::Answer && session.is_none() && !self.is_bridged() {
            let message = "an answer belongs to a session, and this one names none";
            return Some(Violation::of_gateway(SESSION_RULE, "missing", message));
        }
        if message.method() != Message::CALL {
            return None;
        }
        let tool = message.name()?;
        let known = self.store.mcp_tool(&self.remembered(agent), tool);
        match (self.settings.pinned.get(tool), known) {
            (Some(pinned), Some(known)) => (known.seen != *pinned).then(|| changed(tool)),
            (Some(_), None) => Some(Violation::of_gateway(
                TOOL_RULE,
                "not_listed",
                format!(
                    "the tool {tool:?} is pinned, and it isn't known yet whether it is what it was: list the tools first"
                ),
            )),
            (None, known) => known.as_ref().and_then(distrusted),
        }
    }

    /// Remembers whose a session is.
    pub(crate) fn opened(&self, session: &str, agent: &str) {
        self.sessions.insert(session.to_owned(), agent.to_owned());
    }

    /// Forgets a session that has ended.
    pub(crate) fn ended(&self, session: &str) {
        self.sessions.invalidate(session);
    }
}

impl std::fmt::Debug for McpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpServer").field("name", &self.settings.server.name).finish_non_exhaustive()
    }
}

fn distrusted(known: &McpTool) -> Option<Violation> {
    match (&known.hides, known.is_trusted()) {
        (_, true) => None,
        (Some(hides), false) => Some(Violation::of_gateway(
            TOOL_RULE,
            "hidden_text",
            format!(
                "the definition of the tool {:?} holds {hides}, which a model reads and a human doesn't see; an operator has to \
                 accept it",
                known.tool
            ),
        )),
        (None, false) => Some(changed(&known.tool)),
    }
}

fn changed(tool: &str) -> Violation {
    let message =
        format!("the definition of the tool {tool:?} is not the one that was accepted; an operator has to accept it");
    Violation::of_gateway(TOOL_RULE, "changed", message)
}
