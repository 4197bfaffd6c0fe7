//! A guide is true: every command in it runs, in its order, in one shell, and prints what stands below it.
//!
//! How a page is written: in a `console` block, `$ ` starts a command, `> ` continues it, and the rest is what it prints, where `…`
//! stands for anything. A command succeeds, unless the page shows an error below it, or `echo $?` after it shows a code. One that ends
//! in ` &` serves, and writes to the file that it names. `apr_…` in a command is the request that was last printed.
//! The addresses that a page gives Aegis's listeners become free ones: a test takes nobody's port.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{alone, eventually};

/// What of the environment changes where clients connect and whom they trust.
const CLIENTS: [&str; 14] = [
    "ALL_PROXY",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KUBECONFIG",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// How the first words of an error look: of kubectl, of git and aegis, of curl, of Python.
const ERRORS: [&str; 6] = ["Error ", "error: ", "fatal: ", "curl: (", "urllib.error.", "TypeError: "];

/// A command as it is typed, and the lines that the page shows below it.
struct Step {
    command: String,
    shown: Vec<String>,
}

/// A page that is being followed, in a folder of its own.
pub(crate) struct Guide {
    dir: TempDir,
    shell: Shell,
    steps: Vec<Step>,
    /// As the page says it, and as it is here.
    here: Vec<(String, String)>,
    /// Everything that was printed.
    printed: String,
}

impl Guide {
    /// The page `docs/NAME`.
    pub(crate) fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let dir = tempfile::tempdir().expect("a folder");
        let shell = Shell::start(dir.path());
        Self { shell, steps: steps(&page), here: Vec::new(), printed: String::new(), dir }
    }

    /// What the page names so is something else here: an address of the reader's, a file.
    pub(crate) fn instead_of(mut self, page: &str, here: impl ToString) -> Self {
        self.here.push((page.to_owned(), here.to_string()));
        self
    }

    /// The folder that the page begins in, which is the shell's home too.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Types every command, and compares.
    pub(crate) fn follow(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        assert!(!steps.is_empty(), "the page has no command");
        for (index, step) in steps.iter().enumerate() {
            let serves = step.command.ends_with(" &");
            if serves {
                self.free_the_ports();
                // What an earlier one said is not what this one says.
                let _ = std::fs::remove_file(self.log_of(&step.command));
            }
            let command = self.here(&step.command);
            let (printed, code) = self.shell.run(&command);
            let says = steps.get(index + 1).filter(|next| next.command == "echo $?");
            let fails = step.shown.iter().any(|line| ERRORS.iter().any(|error| line.starts_with(error)));
            match says.map(|next| next.shown[0].parse::<i32>().expect("an exit code")) {
                Some(expected) => assert_eq!(code, expected, "$ {command}\n{printed}"),
                None => assert_eq!(code != 0, fails, "$ {command}\nended with {code}:\n{printed}"),
            }
            if serves {
                self.wait_for(&command);
            }
            println!("$ {command}\n{}", printed.trim_end());
            compare(step, &printed);
            self.printed.push_str(&printed);
        }
    }

    /// Runs one more command, which has to succeed; what it printed.
    pub(crate) fn succeed(&mut self, command: &str) -> String {
        let (printed, code) = self.shell.run(command);
        assert_eq!(code, 0, "$ {command}\n{printed}");
        printed
    }

    /// The JSON documents that a command prints.
    pub(crate) fn json(&mut self, command: &str) -> Vec<Value> {
        let printed = self.succeed(&format!("{command} 2>/dev/null"));
        serde_json::Deserializer::from_str(&printed).into_iter().collect::<Result<_, _>>().expect("JSON")
    }

    /// The decisions on record, oldest first.
    pub(crate) fn decisions(&mut self) -> Vec<Value> {
        let mut records = self.json("aegis audit query --limit 1000 --json");
        records.retain(|record| record["event"] == "decision");
        records.sort_by_key(|record| record["seq"].as_u64());
        records
    }

    /// A command as it is typed here.
    fn here(&self, command: &str) -> String {
        let typed = self.here.iter().fold(command.to_owned(), |text, (page, here)| text.replace(page, here));
        if !typed.contains("apr_…") {
            return typed;
        }
        let mut ids = self.printed.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        typed.replace("apr_…", ids.rfind(|word| word.starts_with("apr_")).expect("a request was printed"))
    }

    fn free_the_ports(&mut self) {
        let path = self.place().join("aegis.yaml");
        let config = std::fs::read_to_string(&path).expect("aegis.yaml");
        let free = (4180..4190).fold(config, |text, port| text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0"));
        std::fs::write(&path, free).expect("written");
    }

    /// Waits until what serves is ready, and learns where it listens.
    fn wait_for(&mut self, command: &str) {
        let path = self.log_of(command);
        let log = || std::fs::read_to_string(&path).unwrap_or_default();
        eventually("the gateway is ready", || log().contains("\"ready\""));
        for line in log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let page = match line["listening"].as_str() {
                Some("proxy") => "127.0.0.1:4180",
                Some("api") => "127.0.0.1:4181",
                Some("ext_authz") => "127.0.0.1:4182",
                Some("proxy_tls") => "127.0.0.1:4183",
                _ => continue,
            };
            self.here.retain(|(earlier, _)| earlier != page);
            self.here.push((page.to_owned(), line["address"].as_str().expect("an address").to_owned()));
        }
    }

    /// The file that what serves writes to.
    fn log_of(&mut self, command: &str) -> PathBuf {
        let log = command.split_whitespace().skip_while(|word| *word != ">").nth(1).expect("it writes to a file");
        self.place().join(log)
    }

    /// Where the shell is.
    fn place(&mut self) -> PathBuf {
        PathBuf::from(self.succeed("pwd").trim())
    }
}

/// The commands of the console blocks.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), shown: Vec::new() });
                continue;
            }
            let step = steps.last_mut().expect("a block starts with a command");
            match line.strip_prefix('>') {
                Some(more) => step.command.push_str(&format!("\n{}", more.strip_prefix(' ').unwrap_or(more))),
                None => step.shown.push(line.to_owned()),
            }
        }
    }
    steps
}

/// One shell for all commands, so that `cd`, variables and functions hold. What it has started ends with it.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(dir: &Path) -> Self {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_aegis"));
        let folders = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{folders}", binary.parent().expect("a folder").display());
        let mut command = alone(Command::new("bash"));
        for name in CLIENTS {
            command.env_remove(name);
        }
        command.env("PATH", path).env("NO_COLOR", "1").env("HOME", dir).current_dir(dir).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash runs");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut shell = Self { child, input, output };
        shell.run("exec 2>&1");
        shell
    }

    /// Runs a command; what it printed, and its exit code, which the next command finds in `$?`. It has nothing to read.
    fn run(&mut self, command: &str) -> (String, i32) {
        const END: &str = "--- the command has ended: ";
        writeln!(self.input, "{command}\n_code=$?; echo; echo '{END}'$_code; (exit $_code)").expect("bash listens");
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).expect("text"), 0, "bash has ended: {printed}");
            if let Some(code) = line.strip_prefix(END) {
                return (printed, code.trim().parse().expect("an exit code"));
            }
            printed.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// Whether a printed line is the shown one: `…` stands for anything, spaces only separate.
fn is_shown(shown: &str, printed: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, printed) = (words(shown), words(printed));
    let parts: Vec<&str> = shown.split('…').map(str::trim).collect();
    let mut rest = printed.as_str();
    for (index, part) in parts.iter().enumerate() {
        let Some(at) = rest.find(part) else { return false };
        if index == 0 && at > 0 {
            return false;
        }
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || parts.last().is_some_and(|part| part.is_empty())
}

/// What was printed is what is shown, line by line; a line that is only `…` stands for any number of lines.
fn compare(step: &Step, printed: &str) {
    let mut lines = printed.lines().filter(|line| !line.trim().is_empty());
    let mut gap = false;
    for shown in step.shown.iter().filter(|line| !line.is_empty()) {
        let found = match shown.as_str() {
            "…" => true,
            _ if gap => lines.any(|line| is_shown(shown, line)),
            _ => lines.next().is_some_and(|line| is_shown(shown, line)),
        };
        assert!(found, "$ {}\nthe page shows:\n{shown}\nbut here it printed:\n{printed}", step.command);
        gap = shown == "…";
    }
    assert!(gap || lines.next().is_none(), "$ {}\nthe page doesn't show all of:\n{printed}", step.command);
}

#[test]
fn a_page_that_shows_something_else_is_noticed() {
    for (shown, printed, same) in [
        ("published pol_… is in force", "published pol_01ab is in force", true),
        ("published pol_… is in force", "published pol_01ab is stored", false),
        ("45 200", "     45 200", true),
        ("45 200", "     45 2000", false),
        ("pol_… in force … alice", "pol_1  in force  2026  published  alice  low", false),
        ("…\"message\":\"no\"…", "{\"message\":\"no\",\"x\":1}", true),
    ] {
        assert_eq!(is_shown(shown, printed), same, "{shown}");
    }
    let page = "```console\n$ a \\\n> b\n>   c\nshown\n$ d\n```\n```yaml\n$ not a command\n```\n";
    let found: Vec<(String, Vec<String>)> = steps(page).into_iter().map(|step| (step.command, step.shown)).collect();
    assert_eq!(found, [("a \\\nb\n  c".to_owned(), vec!["shown".to_owned()]), ("d".to_owned(), Vec::new())]);
}
