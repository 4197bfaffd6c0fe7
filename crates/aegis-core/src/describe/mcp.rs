//! An MCP message → [`ToolCall`]: the tool is the server, the action is what the message asks it for.
//!
//! `tools/call` is an action named like the server's tool, with the arguments as its parameters; or the action of the catalogue
//! that the operator maps it to, so that one policy holds for the API and for this. What only sets up or looks around comes with
//! any grant on the server; every other method is an action of its own name.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::pointer::Pointer;
use super::{Catalogue, Unreadable, statement};
use crate::call::{Companion, Effect, HttpRequest, McpRequest, Payload, Shape, ToolCall};
use crate::mcp::headers::Mirror;
use crate::mcp::{Kind, Mapping, Message, Server, action_of, is_action, is_handshake, is_method};

/// The fact that says which server a call goes through.
const SERVER: &str = "mcp";
/// The action of an answer to what the server asked.
const ANSWER: &str = "answer";
/// The action of opening a stream, and of ending a session.
const STREAM: &str = "stream";
const END: &str = "end_session";

impl Catalogue {
    /// Describes a message for a server, and the request that carries it; `mirrors` are the called tool's, where they are known.
    /// Without a message it opens a stream or ends a session.
    ///
    /// # Errors
    /// What makes it ambiguous.
    pub fn describe_mcp(
        &self,
        server: &Server,
        message: Option<Message>,
        request: HttpRequest,
        mirrors: Option<Vec<Mirror>>,
    ) -> Result<ToolCall, Unreadable> {
        let call = match &message {
            None if request.method == http::Method::DELETE => self.around(server, END),
            None => self.around(server, STREAM),
            Some(message) if message.kind() == Kind::Answer => self.around(server, ANSWER),
            Some(message) if is_handshake(message.method()) => self.around(server, message.method()),
            Some(message) if message.method() == Message::CALL => self.tool_of(server, message)?,
            Some(message) => self.method_of(server, message),
        };
        let payload = Payload::Mcp(McpRequest { server: server.name.clone(), request, message, mirrors });
        Ok(ToolCall { payload, ..call })
    }

    /// A call of this tool, as far as it can be told before there is one: for asking whether an agent could ever be allowed it.
    pub fn possible_mcp_tool(&self, server: &Server, tool: &str) -> ToolCall {
        match mapping(server, tool) {
            Some(mapping) => {
                let call =
                    self.describe_named(&mapping.as_tool, &mapping.as_action, Map::new(), facts(server, mapping));
                ToolCall { shape: Shape::Defined(BTreeMap::new()), ..call }
            }
            None if is_action(tool) => self.possible(server, tool),
            None => self.possible(server, ToolCall::UNKNOWN),
        }
    }

    /// The same for a method of the protocol.
    pub fn possible_mcp_method(&self, server: &Server, method: &str) -> ToolCall {
        self.possible(server, &action_of(method))
    }

    fn possible(&self, server: &Server, action: &str) -> ToolCall {
        let call = self.open_call(&server.name, action, of_server(server), Map::new());
        ToolCall { shape: Shape::Defined(BTreeMap::new()), ..call }
    }

    /// What comes with any grant.
    fn around(&self, server: &Server, action: &str) -> ToolCall {
        let tools: Vec<String> = server.map.iter().map(|mapping| mapping.as_tool.clone()).collect();
        let companion = match tools.is_empty() {
            true => Companion::OfTool,
            false => Companion::OfTools(tools.into_iter().chain([server.name.clone()]).collect()),
        };
        ToolCall { effect: Effect::Read, companion, ..self.possible(server, &action_of(action)) }
    }

    fn method_of(&self, server: &Server, message: &Message) -> ToolCall {
        let mut params = message.params().cloned().unwrap_or_default();
        params.remove("_meta");
        let effect = match message.method() {
            "resources/read" | "prompts/get" | "completion/complete" => Effect::Read,
            _ => Effect::Unknown,
        };
        let known = is_method(message.method()).then(|| action_of(message.method()));
        let action = known.as_deref().unwrap_or(ToolCall::UNKNOWN);
        ToolCall { effect, ..self.open_call(&server.name, action, of_server(server), params) }
    }

    fn tool_of(&self, server: &Server, message: &Message) -> Result<ToolCall, Unreadable> {
        let tool = message.name().unwrap_or_default();
        let arguments = message.arguments()?;
        let Some(mapping) = mapping(server, tool) else {
            // A tool that is named like a method isn't what a policy means that names the method.
            let action = if is_action(tool) { tool } else { ToolCall::UNKNOWN };
            let mut call = self.describe_undefined(&server.name, action, arguments, of_server(server));
            let programs = server.programs.iter().filter(|argument| argument.is_of(tool));
            let programs: Vec<_> = programs.map(|argument| (argument.name.as_str(), argument.language)).collect();
            statement::tell(&mut call, &programs)?;
            return Ok(call);
        };
        let params = mapped(mapping, arguments)?;
        Ok(self.describe_named(&mapping.as_tool, &mapping.as_action, params, facts(server, mapping)))
    }
}

fn mapping<'s>(server: &'s Server, tool: &str) -> Option<&'s Mapping> {
    server.map.iter().find(|mapping| mapping.tool == tool)
}

fn of_server(server: &Server) -> BTreeMap<String, String> {
    BTreeMap::from([(SERVER.to_owned(), server.name.clone())])
}

fn facts(server: &Server, mapping: &Mapping) -> BTreeMap<String, String> {
    let mut facts = of_server(server);
    facts.extend(mapping.target.iter().cloned());
    facts
}

/// The action's parameters, read out of a tool's arguments. Arguments that aren't read stay parameters: nothing that a call says
/// is kept from the rules.
fn mapped(mapping: &Mapping, arguments: Map<String, Value>) -> Result<Map<String, Value>, Unreadable> {
    let mut params = Map::new();
    let mut read = Vec::new();
    let whole = Value::Object(arguments);
    for (name, pointer) in &mapping.params {
        let pointer = Pointer::parse(pointer).map_err(|why| Unreadable::new("mcp_map", why))?;
        let mut found = Vec::new();
        pointer.find(&whole, &mut found)?;
        let value = match found.as_slice() {
            [] => continue,
            [one] if !pointer.is_multiple() => (*one).clone(),
            several => Value::Array(several.iter().map(|value| (*value).clone()).collect()),
        };
        params.insert(name.clone(), value);
        read.extend(pointer.first().map(str::to_owned));
    }
    let Value::Object(arguments) = whole else { return Ok(params) };
    for (name, value) in arguments {
        if read.contains(&name) && mapping.params.iter().any(|(_, pointer)| *pointer == format!("/{name}")) {
            continue;
        }
        if mapping.params.iter().any(|(param, _)| *param == name) {
            let message = format!("the argument {name:?} has the name of a parameter that is read elsewhere");
            return Err(Unreadable::new("mcp_map_conflict", message));
        }
        params.insert(name, value);
    }
    Ok(params)
}
