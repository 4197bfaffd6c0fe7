//! A real `yaml-language-server`, the program behind YAML in most editors, spoken to as an editor does: LSP over its standard
//! input and output (Language Server Protocol 3.17, base protocol).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::tools::tool;

/// A running server.
pub(super) struct Editor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_id: u64,
    opened: usize,
}

impl Editor {
    /// Starts one that goes by the schemas that the first lines of files name.
    pub(super) fn start() -> Self {
        let mut command = Command::new(tool("yaml-language-server"));
        command.arg("--stdio").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("Node runs it");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut editor = Self { child, input, output, last_id: 0, opened: 0 };
        let able = json!({"textDocument": {"completion": {"completionItem": {"documentationFormat": ["plaintext"]}}}});
        editor.ask("initialize", &json!({"processId": null, "rootUri": null, "capabilities": able}));
        editor.tell("initialized", &json!({}));
        let yaml = json!({"validate": true, "completion": true, "hover": true, "schemaStore": {"enable": false}});
        editor.tell("workspace/didChangeConfiguration", &json!({"settings": {"yaml": yaml}}));
        editor
    }

    /// What the editor underlines in a file of this kind.
    pub(super) fn problems(&mut self, schema: &str, text: &str) -> Vec<String> {
        let uri = self.open(schema, text);
        loop {
            let message = self.receive();
            let params = &message["params"];
            if message["method"] == "textDocument/publishDiagnostics" && params["uri"] == uri.as_str() {
                let said = params["diagnostics"].as_array().expect("a list").iter();
                return said.map(|one| one["message"].as_str().unwrap_or_default().to_owned()).collect();
            }
        }
    }

    /// What the editor offers at the end of a text, each with its description.
    pub(super) fn completions(&mut self, schema: &str, text: &str) -> BTreeMap<String, String> {
        let uri = self.open(schema, text);
        let place = json!({"line": text.lines().count(), "character": text.lines().last().map_or(0, str::len)});
        let answer = self.ask("textDocument/completion", &json!({"textDocument": {"uri": uri}, "position": place}));
        let items = answer["items"].as_array().or_else(|| answer.as_array()).expect("a list").iter();
        let text = |value: &Value| {
            let text = value.as_str().or_else(|| value["value"].as_str());
            text.unwrap_or_default().to_owned()
        };
        items.map(|item| (text(&item["label"]), text(&item["documentation"]))).collect()
    }

    fn open(&mut self, schema: &str, text: &str) -> String {
        self.opened += 1;
        let uri = format!("file:///work/{}.yaml", self.opened);
        let schema = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../api/{schema}.schema.json"));
        let schema = schema.canonicalize().expect("there");
        let text = format!("# yaml-language-server: $schema=file://{}\n{text}", schema.display());
        let document = json!({"uri": uri, "languageId": "yaml", "version": 1, "text": text});
        self.tell("textDocument/didOpen", &json!({"textDocument": document}));
        uri
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let mut message = self.receive();
            if message.get("method").is_none() && message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
        }
    }

    fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("it listens");
        self.input.flush().expect("it listens");
    }

    /// The next message; what the server asks of its editor is answered with nothing on the way.
    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("it answers") > 0, "the language server ended");
            match line.trim().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("a length"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).expect("it answers");
        let message: Value = serde_json::from_slice(&body).expect("JSON");
        if message.get("method").is_some() && message.get("id").is_some() {
            let result = match message["method"].as_str() {
                // One answer for each section that it asks for.
                Some("workspace/configuration") => {
                    let items = message["params"]["items"].as_array().map_or(0, Vec::len);
                    json!(vec![Value::Null; items])
                }
                _ => Value::Null,
            };
            self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
        }
        message
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
