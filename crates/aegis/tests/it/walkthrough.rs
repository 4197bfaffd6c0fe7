//! The walk-through is true: every command in it runs, in its order, in one shell, and prints what stands below it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::process::{alone, eventually};
use crate::upstream::Upstream;

const PAGE: &str = include_str!("../../../../docs/walkthrough.md");

/// A command as it is typed, and the lines that the page shows below it.
struct Step {
    command: String,
    shown: Vec<&'static str>,
}

/// The commands of the console blocks: `$ ` starts one, `> ` continues it, the rest is what it prints.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in PAGE.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step { command: command.to_owned(), shown: Vec::new() });
                continue;
            }
            let step = steps.last_mut().expect("a block starts with a command");
            match line.strip_prefix("> ") {
                Some(more) => step.command.push_str(&format!("\n{more}")),
                None => step.shown.push(line),
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
        command.env("PATH", path).env("NO_COLOR", "1").current_dir(dir).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash runs");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut shell = Self { child, input, output };
        shell.run("exec 2>&1");
        shell
    }

    /// Runs a command; what it printed, and its exit code, which the next command finds in `$?`.
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
        let found = match *shown {
            "…" => true,
            _ if gap => lines.any(|line| is_shown(shown, line)),
            _ => lines.next().is_some_and(|line| is_shown(shown, line)),
        };
        assert!(found, "$ {}\nthe page shows:\n{shown}\nbut here it printed:\n{printed}", step.command);
        gap = *shown == "…";
    }
    assert!(gap || lines.next().is_none(), "$ {}\nthe page doesn't show all of:\n{printed}", step.command);
}

#[test]
fn the_life_of_a_policy_goes_as_the_page_tells_it() {
    let tool = Upstream::start(None);
    let dir = tempfile::tempdir().expect("a folder");
    let here = dir.path().join("my-gateway");
    let mut shell = Shell::start(dir.path());
    let mut proxy = "127.0.0.1:4180".to_owned();
    let steps = steps();
    for (index, step) in steps.iter().enumerate() {
        // A test takes nobody's port.
        let command =
            step.command.replace("127.0.0.1:8001", &tool.address.to_string()).replace("127.0.0.1:4180", &proxy);
        let (printed, code) = shell.run(&command);
        let says = steps.get(index + 1).filter(|next| next.command == "echo $?");
        let expected = says.map_or(0, |next| next.shown[0].parse().expect("an exit code"));
        assert_eq!(code, expected, "$ {command}\n{printed}");
        if step.command.starts_with("aegis init") {
            free_the_ports(&here.join("aegis.yaml"));
        }
        if step.command.ends_with(" &") {
            let log = || std::fs::read_to_string(here.join("gateway.log")).unwrap_or_default();
            eventually("the gateway is ready", || log().contains("\"ready\""));
            let lines = log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
            let listening = lines.iter().find(|line| line["listening"] == "proxy").expect("it listens");
            proxy = listening["address"].as_str().expect("an address").to_owned();
        }
        compare(step, &printed);
    }

    // What the page tells besides, from the record: nothing was held back in shadow mode, then what was enforced was, by the
    // version that `list` says is in force, and what was refused did not reach the tool.
    let records = json_lines(&mut shell, "aegis audit query --limit 1000 --json");
    let mut decisions: Vec<&Value> = records.iter().filter(|record| record["event"] == "decision").collect();
    decisions.sort_by_key(|record| record["seq"].as_u64());
    let did = |record: &Value| record["decision"].as_str().expect("a decision").to_owned();
    assert_eq!(decisions.len(), 49, "{decisions:#?}");
    let (watched, enforced) = decisions.split_at(45);
    assert!(watched.iter().all(|record| record["mode"] == "shadow" && did(record) == "allow"), "{watched:#?}");
    assert_eq!(watched.iter().filter(|record| record["would_decision"] == "deny").count(), 5);
    let answers: Vec<String> = enforced.iter().map(|record| did(record)).collect();
    assert_eq!(answers, ["allow", "deny", "allow", "deny"], "60, 200, 200 of the slip, 200 after going back");
    assert_eq!(enforced[3]["policy_version"], enforced[1]["policy_version"], "the old version decides again");
    assert_ne!(enforced[3]["policy_version"], enforced[2]["policy_version"]);
    let approvals = json_lines(&mut shell, "aegis approvals list --json");
    assert_eq!(approvals, [Value::Array(Vec::new())], "nobody was asked");
    let reached = tool.seen();
    assert_eq!(reached.matches("\"replicas\": 60}").count() + reached.matches("\"replicas\":60}").count(), 6);
    assert_eq!(reached.matches("\"replicas\": 200}").count() + reached.matches("\"replicas\":200}").count(), 1);
}

fn json_lines(shell: &mut Shell, command: &str) -> Vec<Value> {
    let (printed, code) = shell.run(&format!("{command} 2>/dev/null"));
    assert_eq!(code, 0, "{printed}");
    serde_json::Deserializer::from_str(&printed).into_iter().collect::<Result<_, _>>().expect("JSON")
}

/// The documented ones, in the configuration that `init` wrote, become free ones.
fn free_the_ports(config: &Path) {
    let text = std::fs::read_to_string(config).expect("there");
    let free = ["4180", "4181", "4182", "4183"]
        .iter()
        .fold(text, |text, port| text.replacen(&format!("127.0.0.1:{port}"), "127.0.0.1:0", 1));
    std::fs::write(config, free).expect("written");
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
    assert!(steps().len() >= 25, "the page has lost its commands");
}
