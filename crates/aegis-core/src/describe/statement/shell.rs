//! A shell's text as facts: the programs that it starts, and the forms that are dangerous.
//!
//! What starts other programs (`sudo`, `xargs`, `find -exec`, `sh -c`) is followed. Invariants: a name that is known only when it
//! runs, or a word of the shell that changes what others mean, and nothing is known; a program that is named with its path is told
//! by its path and by its name, so that neither is the way around a list of the other.

use std::collections::BTreeSet;

use super::words::{Token, Word, programs};
use super::{Facts, Unread};
use crate::call::Effect;

/// How deep programs may start each other.
const DEEPEST: usize = 6;

const SHELLS: [&str; 10] = ["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "yash", "fish"];
const INTERPRETERS: [&str; 16] = [
    "python",
    "perl",
    "ruby",
    "node",
    "nodejs",
    "php",
    "lua",
    "tclsh",
    "deno",
    "bun",
    "osascript",
    "pwsh",
    "Rscript",
    "groovy",
    "julia",
    "guile",
];
/// Words of the shell after which anything may mean anything.
const OBSCURE: [&str; 27] = [
    "eval",
    "source",
    ".",
    "trap",
    "alias",
    "enable",
    "hash",
    "bind",
    "complete",
    "mapfile",
    "readarray",
    "coproc",
    "function",
    "case",
    "select",
    "[[",
    "set",
    "shopt",
    "fc",
    "history",
    // They work out arithmetic, or what stands in the brackets of an array: either may run programs.
    "let",
    "declare",
    "typeset",
    "local",
    "readonly",
    "getopts",
    "compgen",
];
/// Words that only shape the program around a command.
const KEYWORDS: [&str; 12] = ["if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!"];
const DOWNLOADS: [&str; 6] = ["curl", "wget", "fetch", "aria2c", "http", "lynx"];
/// Programs that start others in ways that aren't followed here.
const LAUNCHERS: [&str; 58] = [
    "ssh",
    "docker",
    "podman",
    "kubectl",
    "nsenter",
    "unshare",
    "chroot",
    "systemd-run",
    "screen",
    "tmux",
    "parallel",
    "script",
    "strace",
    "gdb",
    "watch",
    "flock",
    "vim",
    "vi",
    "ex",
    "ed",
    "emacs",
    "expect",
    "rsync",
    "start-stop-daemon",
    "setpriv",
    "socat",
    "taskset",
    "chrt",
    "numactl",
    "cpulimit",
    "prlimit",
    "setarch",
    "fakeroot",
    "proot",
    "firejail",
    "bwrap",
    "systemd-nspawn",
    "ip",
    "split",
    "toybox",
    "unbuffer",
    "chronic",
    "sg",
    "ltrace",
    "valgrind",
    "perf",
    "torsocks",
    "proxychains",
    "proxychains4",
    "faketime",
    "entr",
    "xvfb-run",
    "dbus-run-session",
    "ctr",
    "nerdctl",
    "crictl",
    "make",
    "rlwrap",
];
/// Programs that start what follows their options: those that stand alone, and those with a value.
const PREFIXES: [(&str, &[&str], &[&str]); 14] = [
    ("sudo", &["-n", "-E", "-H", "-k", "-b", "-S"], &["-u", "-g", "-p", "-C", "-D", "-h"]),
    ("doas", &["-n"], &["-u"]),
    ("env", &["-i", "-", "-0"], &["-u", "-C"]),
    ("nice", &[], &["-n"]),
    ("ionice", &["-t"], &["-c", "-n"]),
    ("nohup", &[], &[]),
    ("setsid", &["-w", "-f"], &[]),
    ("time", &["-p"], &[]),
    ("stdbuf", &[], &["-i", "-o", "-e"]),
    ("command", &["-p"], &[]),
    ("builtin", &[], &[]),
    ("exec", &["-c", "-l"], &["-a"]),
    ("xargs", &["-0", "-r", "-t", "-x"], &["-n", "-I", "-P", "-L", "-d", "-s", "-a"]),
    ("busybox", &[], &[]),
];
/// Variables that change nothing of what is run.
const HARMLESS: [&str; 12] = [
    "CI",
    "NODE_ENV",
    "RAILS_ENV",
    "RUST_LOG",
    "DEBUG",
    "LANG",
    "LC_ALL",
    "TZ",
    "TERM",
    "NO_COLOR",
    "FORCE_COLOR",
    "PORT",
];

/// What a text says.
pub(super) fn read(text: &str) -> Result<Facts, Unread> {
    let mut seen = Seen::default();
    seen.text(text, 0)?;
    seen.told()
}

/// What a list of words says that is run without a shell.
pub(super) fn read_words(words: &[&str]) -> Result<Facts, Unread> {
    let words: Vec<Word> =
        words.iter().map(|text| Word { text: (*text).to_owned(), quoted: true, ..Word::default() }).collect();
    let mut seen = Seen::default();
    seen.command(&words, 0)?;
    seen.told()
}

#[derive(Debug, Default)]
struct Seen {
    commands: BTreeSet<String>,
    dangerous: BTreeSet<&'static str>,
    /// Whether something may be fed into a program.
    piped: bool,
    downloads: bool,
    runs_files: bool,
}

impl Seen {
    fn told(mut self) -> Result<Facts, Unread> {
        if self.commands.is_empty() {
            return Err(Unread("there is no command in it"));
        }
        if self.downloads && self.runs_files {
            self.dangerous.insert("download_exec");
        }
        let dangerous = self.dangerous.into_iter().map(str::to_owned).collect();
        Ok(Facts { verbs: self.commands, tables: None, dangerous, effect: Effect::Exec })
    }

    fn text(&mut self, text: &str, depth: usize) -> Result<(), Unread> {
        if depth > DEEPEST {
            return Err(Unread("its programs start each other too deep"));
        }
        let all = programs(text)?;
        // Where one program's output may be another's input isn't followed: it counts for all of them.
        self.piped |= all.iter().flatten().any(|token| matches!(token, Token::Pipe | Token::HereString | Token::Input));
        for tokens in &all {
            self.program(tokens, depth)?;
        }
        Ok(())
    }

    fn program(&mut self, tokens: &[Token], depth: usize) -> Result<(), Unread> {
        let mut words: Vec<Word> = Vec::new();
        let mut tokens = tokens.iter();
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) => {
                    let keyword = words.is_empty() && !word.quoted && KEYWORDS.contains(&word.text.as_str());
                    if !keyword {
                        words.push(word.clone());
                    }
                }
                Token::Open if !words.is_empty() => return Err(Unread("it has a function or an array")),
                Token::Pipe | Token::End | Token::Open | Token::Close => {
                    self.simple(&std::mem::take(&mut words), depth)?;
                }
                Token::Input | Token::HereString | Token::Output => {
                    let Some(Token::Word(target)) = tokens.next() else {
                        return Err(Unread("it has a redirection without a target"));
                    };
                    self.redirect(token, target);
                }
            }
        }
        self.simple(&words, depth)
    }

    fn redirect(&mut self, how: &Token, target: &Word) {
        let Word { text, dynamic, .. } = target;
        if *dynamic {
            self.dangerous.insert("dynamic_arguments");
        }
        let of_stream = text == "-" || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let harmless = ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/stdin", "/dev/tty"].contains(&text.as_str());
        match how {
            Token::HereString => {}
            _ if text.starts_with("/dev/tcp") || text.starts_with("/dev/udp") => {
                self.dangerous.insert("redirect_to_network");
            }
            Token::Output if (of_stream || harmless) && !dynamic => {}
            Token::Output if text.starts_with("/dev/") => {
                self.dangerous.insert("redirect_to_device");
            }
            Token::Output => {
                self.dangerous.insert("write_redirect");
            }
            _ => {}
        }
    }

    /// One simple command: assignments, then a program and its arguments.
    fn simple(&mut self, words: &[Word], depth: usize) -> Result<(), Unread> {
        let assignments = words.iter().take_while(|word| word.value_at.is_some());
        for word in assignments.clone() {
            let name = word.text.get(..word.value_at.unwrap_or_default().saturating_sub(1)).unwrap_or_default();
            if !HARMLESS.contains(&name) {
                self.dangerous.insert("sets_variable");
            }
        }
        let words = words.get(assignments.count()..).unwrap_or_default();
        match words {
            [] => Ok(()),
            [word, name, rest @ ..] if !word.quoted && word.text == "for" => {
                self.sets(std::slice::from_ref(name));
                let listed = rest.first().is_none_or(|word| word.text == "in");
                if listed && !name.dynamic { Ok(()) } else { Err(Unread("it has a loop that can't be followed")) }
            }
            words => self.command(words, depth),
        }
    }

    fn command(&mut self, words: &[Word], depth: usize) -> Result<(), Unread> {
        let Some((program, args)) = words.split_first() else { return Ok(()) };
        if depth > DEEPEST {
            return Err(Unread("its programs start each other too deep"));
        }
        if program.dynamic
            || program.glob && program.text != "["
            || program.text.is_empty()
            || program.text.starts_with('-')
        {
            return Err(Unread("which program it starts is known only when it runs"));
        }
        let path = program.text.as_str();
        let name = path.rsplit('/').next().unwrap_or_default();
        if OBSCURE.contains(&name) {
            return Err(Unread("it uses a word of the shell that can run or rename anything"));
        }
        self.commands.extend([path.to_owned(), name.to_owned()]);
        self.runs_files |= path.contains('/');
        self.downloads |= DOWNLOADS.contains(&name);
        if args.iter().any(|arg| arg.dynamic) {
            self.dangerous.insert("dynamic_arguments");
        }
        self.builtin(name, args)?;
        self.arguments(name, args);
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        if let Some((_, flags, values)) = PREFIXES.iter().find(|(prefix, ..)| *prefix == name) {
            return self.prefix(name, args, (flags, values), depth);
        }
        match name {
            "timeout" => self.after_options(args, (&["--foreground"], &["-k", "-s"]), 1, depth),
            "find" => self.find(args, depth),
            _ if SHELLS.contains(&name) => self.shell(args, depth),
            _ if INTERPRETERS.contains(&stem) => {
                self.interpreter(args);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn prefix(&mut self, name: &str, args: &[Word], options: (&[&str], &[&str]), depth: usize) -> Result<(), Unread> {
        if ["sudo", "doas"].contains(&name) {
            self.dangerous.insert("sudo");
        }
        if name == "command" && args.first().is_some_and(|arg| ["-v", "-V"].contains(&arg.text.as_str())) {
            return Ok(());
        }
        if name == "xargs" {
            self.piped = true;
            self.dangerous.insert("dynamic_arguments");
        }
        self.after_options(args, options, 0, depth)
    }

    /// The command that follows a program's options, its assignments and `operands` more words.
    fn after_options(
        &mut self,
        args: &[Word],
        (flags, values): (&[&str], &[&str]),
        operands: usize,
        depth: usize,
    ) -> Result<(), Unread> {
        let mut rest = args;
        while let [word, after @ ..] = rest {
            let text = word.text.as_str();
            if word.dynamic {
                return Err(Unread("which program it starts is known only when it runs"));
            }
            rest = match text {
                "--" => {
                    rest = after;
                    break;
                }
                _ if flags.contains(&text) => after,
                _ if values.contains(&text) => after.get(1..).unwrap_or_default(),
                // `-n5`, `-oL`.
                _ if values.iter().any(|flag| text.starts_with(flag)) && !text.starts_with("--") => after,
                _ if text.starts_with('-') => {
                    return Err(Unread("a program that starts others has an option that isn't known"));
                }
                _ => break,
            };
        }
        let rest = rest.get(operands..).unwrap_or_default();
        let assigned =
            rest.iter().take_while(|word| word.text.split_once('=').is_some_and(|(name, _)| !name.contains('/')));
        let assigned = assigned.count();
        if assigned > 0 {
            self.dangerous.insert("sets_variable");
        }
        self.command(rest.get(assigned..).unwrap_or_default(), depth + 1)
    }

    /// `find … -exec PROGRAM … ;`
    fn find(&mut self, args: &[Word], depth: usize) -> Result<(), Unread> {
        if args.iter().any(|arg| arg.dynamic) {
            return Err(Unread("which program it starts is known only when it runs"));
        }
        for (index, arg) in args.iter().enumerate() {
            match arg.text.as_str() {
                "-delete" => drop(self.dangerous.insert("find_delete")),
                "-fprint" | "-fprintf" | "-fprint0" | "-fls" => drop(self.dangerous.insert("write_redirect")),
                "-exec" | "-execdir" | "-ok" | "-okdir" => {
                    let rest = args.get(index + 1..).unwrap_or_default();
                    let end = rest.iter().position(|word| word.text == ";" || word.text == "+").unwrap_or(rest.len());
                    self.command(rest.get(..end).unwrap_or_default(), depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `sh -c TEXT`, `sh FILE`, or a shell that reads what it is fed.
    fn shell(&mut self, args: &[Word], depth: usize) -> Result<(), Unread> {
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            if word.dynamic || word.glob {
                return Err(Unread("which program it starts is known only when it runs"));
            }
            let text = word.text.as_str();
            match text {
                "-o" | "+o" | "-O" | "+O" => drop(rest.next()),
                // Each `o` takes a word, wherever it stands among the letters.
                _ if !text.starts_with("--") && text.starts_with(['-', '+']) && text.contains(['o', 'O']) => {
                    return Err(Unread("a shell in it has an option that isn't known"));
                }
                "--login" | "--norc" | "--noprofile" | "--posix" | "-" | "-s" => {}
                _ if text.starts_with("--") => return Err(Unread("a shell in it has an option that isn't known")),
                _ if text.starts_with('-') && text.contains('c') => {
                    let program = rest.next().filter(|program| !program.dynamic);
                    let program = program.ok_or(Unread("which program it starts is known only when it runs"))?;
                    return self.text(&program.text, depth + 1);
                }
                _ if text.starts_with(['-', '+']) => {}
                _ => {
                    self.runs_files = true;
                    self.dangerous.insert("runs_script");
                    return Ok(());
                }
            }
        }
        self.fed();
        Ok(())
    }

    fn interpreter(&mut self, args: &[Word]) {
        let inline = |word: &&Word| {
            let text = word.text.as_str();
            ["--eval", "--print", "-"].contains(&text)
                || text.starts_with('-') && !text.starts_with("--") && text.contains(['c', 'e', 'E', 'r', 'p', 'n'])
        };
        let told = |word: &&Word| !word.text.starts_with('-') || word.dynamic;
        if args.iter().take_while(|word| !told(word)).any(|word| inline(&word)) {
            self.dangerous.insert("inline_code");
        } else if args.iter().any(|word| told(&word)) {
            self.runs_files = true;
            self.dangerous.insert("runs_script");
        } else {
            self.fed();
        }
    }

    /// A program that runs what it is fed.
    fn fed(&mut self) {
        if self.piped {
            self.runs_files = true;
            self.dangerous.insert("pipe_to_shell");
        } else {
            self.dangerous.insert("interactive");
        }
    }

    /// Words of the shell that name variables: a name with brackets is an array's, and what stands in them may run programs.
    fn builtin(&mut self, name: &str, args: &[Word]) -> Result<(), Unread> {
        if !["export", "printf", "read", "unset", "test", "["].contains(&name) {
            return Ok(());
        }
        if args.iter().any(|arg| arg.text.contains('[') && arg.text.contains(['$', '`'])) {
            return Err(Unread("it has an array's place that may run programs"));
        }
        let named = match name {
            "printf" if args.first().is_some_and(|arg| arg.text.starts_with("-v")) => args,
            "export" | "read" => args,
            _ => &[],
        };
        self.sets(named);
        Ok(())
    }

    /// Variables that get a value: those that programs look at are in capitals.
    fn sets(&mut self, words: &[Word]) {
        let name = |word: &Word| word.text.split('=').next().unwrap_or_default().trim_end_matches('+').to_owned();
        let looked_at =
            |name: &String| name.chars().any(|c| c.is_ascii_uppercase()) && !HARMLESS.contains(&name.as_str());
        if words
            .iter()
            .filter(|word| !word.text.starts_with('-') || word.text.starts_with("-v"))
            .map(name)
            .any(|name| looked_at(&name))
        {
            self.dangerous.insert("sets_variable");
        }
    }

    /// What the arguments of a known program make of it.
    fn arguments(&mut self, name: &str, args: &[Word]) {
        let has = |words: &[&str]| args.iter().any(|arg| words.contains(&arg.text.as_str()));
        let flags = |letters: &[char]| {
            let options = args.iter().map(|arg| arg.text.as_str()).take_while(|text| *text != "--");
            options.into_iter().any(|text| text.starts_with('-') && !text.starts_with("--") && text.contains(letters))
        };
        let long = |start: &str| args.iter().any(|arg| arg.text.starts_with(start));
        let found = match name {
            "rm" if flags(&['r', 'R']) || long("--r") => "rm_recursive",
            "rm" | "rmdir" | "unlink" | "shred" | "truncate" => "removes_files",
            "chmod" if args.iter().any(|arg| opens_to_all(&arg.text)) => "chmod_777",
            "dd" => "dd",
            "fdisk" | "sfdisk" | "parted" | "wipefs" | "blkdiscard" | "mkswap" | "cryptsetup" => "disk",
            _ if name == "mkfs" || name.starts_with("mkfs.") => "mkfs",
            "su" | "pkexec" | "runuser" => "sudo",
            "kill" if has(&["-1"]) => "kill_all",
            "killall" | "pkill" => "kill_all",
            "shutdown" | "reboot" | "halt" | "poweroff" | "init" => "shutdown",
            "crontab" | "at" | "batch" => "schedule",
            "nc" | "ncat" | "netcat" | "telnet" => "network_stream",
            "git"
                if has(&["-c"])
                    || [
                        "--exec",
                        "-c",
                        "--config",
                        "ext::",
                        "--upload-pack",
                        "--receive-pack",
                        "--open-files",
                        "-O",
                    ]
                    .into_iter()
                    .any(long) =>
            {
                "inline_code"
            }
            "git" if has(&["bisect", "foreach", "filter-branch", "difftool", "mergetool"]) => "launches",
            "git"
                if has(&["push"])
                    && (flags(&['f', 'd'])
                        || long("--force")
                        || long("--del")
                        || long("--mirror")
                        || long("--prune")
                        || long("+")
                        || long(":")) =>
            {
                "git_force"
            }
            "git" if has(&["reset"]) && has(&["--hard"]) || has(&["clean"]) && flags(&['f']) => "git_discard",
            "curl"
                if flags(&['d', 'F', 'T'])
                    || long("--data")
                    || long("--form")
                    || long("--upload")
                    || long("--json") =>
            {
                "upload"
            }
            "wget" if long("--post") || long("--body") => "upload",
            "tar" if long("--to-command") || long("--checkpoint-action") || long("--use-compress") || flags(&['I']) => {
                "inline_code"
            }
            "awk" | "gawk" | "mawk" | "nawk" if args.iter().any(|arg| arg.dynamic || runs_programs(&arg.text)) => {
                "inline_code"
            }
            "sed" if args.iter().any(|arg| arg.dynamic || sed_acts(&arg.text)) => "inline_code",
            "sort" if long("--compress-program") => "inline_code",
            _ if LAUNCHERS.contains(&name) || name.starts_with("ld-") || name.starts_with("ld.so") => "launches",
            _ => return,
        };
        self.dangerous.insert(found);
    }
}

/// Whether a script of awk starts programs.
fn runs_programs(script: &str) -> bool {
    script.contains("system") || script.contains('|') || script.contains("getline")
}

/// Whether a script of sed starts programs or writes files: `e`, `w`, and the flags of `s` of the same names.
fn sed_acts(script: &str) -> bool {
    let acts = |part: &str| {
        let mut rest =
            part.trim_start_matches(|c: char| c.is_ascii_digit() || c.is_whitespace() || "$,!~+".contains(c));
        while let Some(pattern) = rest.strip_prefix('/') {
            // An address; what has no end is the name of a file, and tells nothing.
            let Some((_, after)) = pattern.split_once('/') else { return false };
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c.is_whitespace() || "$,!~+I".contains(c));
        }
        let mut letters = rest.chars();
        match (letters.next(), letters.next()) {
            (Some('e' | 'w' | 'W'), None | Some(' ' | '\t')) => true,
            (Some('s'), Some(delimiter)) if !delimiter.is_alphanumeric() => {
                rest.splitn(4, delimiter).nth(3).is_some_and(|flags| flags.contains(['e', 'w']))
            }
            _ => false,
        }
    };
    script.split([';', '\n', '{', '}']).any(acts)
}

/// Whether a mode lets everybody write.
fn opens_to_all(mode: &str) -> bool {
    if !mode.is_empty() && mode.bytes().all(|byte| byte.is_ascii_digit()) {
        return mode.ends_with(['2', '3', '6', '7']);
    }
    mode.split(',').any(|clause| {
        let Some(at) = clause.find(['+', '=']) else { return false };
        let (who, what) = clause.split_at(at);
        let to_all = who.is_empty() || who.contains(['a', 'o']);
        to_all && who.chars().all(|c| "ugoa".contains(c)) && what.contains('w')
    })
}
