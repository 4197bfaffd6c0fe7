//! SQL as facts: its verbs, the tables that it names, and the forms that are dangerous whatever the table.
//!
//! Parsed by `sqlparser`, whole statements only. Invariants: every statement counts, wherever it stands (a write in a `WITH`, what
//! `EXPLAIN` is asked about); what can be read in two ways by two databases is not read at all, unless the operator says which
//! one it is; a name that isn't known to be harmless is told as unknown.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CopyTarget, Expr, Function, MergeAction, ObjectName, ObjectNamePart, Query, Select, SetExpr,
    Statement, TableFactor, Visit, Visitor,
};
use sqlparser::dialect::{
    Dialect as Grammar, GenericDialect, MsSqlDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use super::{Facts, Unread, functions};
use crate::call::Effect;

/// Which database reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Not known: only what all of them read alike.
    Any,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
    /// Microsoft SQL Server.
    MsSql,
}

impl Dialect {
    /// Their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("any", Self::Any),
        ("postgres", Self::Postgres),
        ("mysql", Self::MySql),
        ("sqlite", Self::Sqlite),
        ("mssql", Self::MsSql),
    ];

    fn grammar(self) -> Box<dyn Grammar> {
        match self {
            Self::Any => Box::new(GenericDialect {}),
            Self::Postgres => Box::new(PostgreSqlDialect {}),
            Self::MySql => Box::new(MySqlDialect {}),
            Self::Sqlite => Box::new(SQLiteDialect {}),
            Self::MsSql => Box::new(MsSqlDialect {}),
        }
    }
}

/// The longest text that is read, in bytes.
const LONGEST: usize = 64 * 1024;
/// Most operators in one text: a chain of them is a tree as deep, and what walks it is recursive.
const MOST_OPERATORS: usize = 300;
/// How deep the parser may go.
const DEEPEST: usize = 30;

/// What a text of SQL says.
pub(super) fn read(text: &str, dialect: Dialect) -> Result<Facts, Unread> {
    if text.len() > LONGEST {
        return Err(Unread("it is too long to be read"));
    }
    let grammar = dialect.grammar();
    check_tokens(text, dialect, grammar.as_ref())?;
    let parser = Parser::new(grammar.as_ref()).with_recursion_limit(DEEPEST);
    let statements = parser.try_with_sql(text).and_then(|mut parser| parser.parse_statements());
    let statements = statements.map_err(|_| Unread("it is no SQL that can be read"))?;
    if statements.is_empty() {
        return Err(Unread("there is no statement in it"));
    }
    let mut seen = Seen::default();
    for statement in &statements {
        // It never breaks off.
        let _ = statement.visit(&mut seen);
    }
    if statements.len() > 1 {
        seen.danger("multi_statement");
    }
    if let [Statement::Query(query)] = statements.as_slice() {
        seen.forget_own_names(query);
    }
    Ok(Facts {
        verbs: seen.verbs,
        tables: (!seen.blind).then_some(seen.tables),
        dangerous: seen.dangerous,
        effect: seen.effect.unwrap_or(Effect::Unknown),
    })
}

/// Refuses what another database would split into other tokens, and what would make too deep a tree.
fn check_tokens(text: &str, dialect: Dialect, grammar: &dyn Grammar) -> Result<(), Unread> {
    // MySQL runs what stands in `/*! … */`, MariaDB what stands in `/*M! … */`.
    if text.contains("/*M!") || dialect != Dialect::MySql && text.contains("/*!") {
        return Err(Unread("a comment in it may be code to some databases"));
    }
    let tokens = Tokenizer::new(grammar, text).with_unescape(false).tokenize();
    let tokens = tokens.map_err(|_| Unread("it is no SQL that can be read"))?;
    let mut operators = 0;
    for token in &tokens {
        match token {
            // PostgreSQL ends a comment at a carriage return, others don't.
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. })
                if comment.trim_end_matches(['\r', '\n']).contains('\r') =>
            {
                return Err(Unread("a comment in it may be code to some databases"));
            }
            // Whether comments nest depends on who reads them.
            Token::Whitespace(Whitespace::MultiLineComment(comment)) if comment.contains("/*") => {
                return Err(Unread("a comment in it may be code to some databases"));
            }
            Token::Whitespace(Whitespace::SingleLineComment { comment, prefix }) if dialect == Dialect::Any => {
                if prefix != "--" || !comment.starts_with([' ', '\t', '\n', '\r']) && !comment.is_empty() {
                    return Err(Unread("a comment in it may be code to some databases"));
                }
            }
            Token::Sharp if dialect == Dialect::Any => {
                return Err(Unread("a `#` in it is a comment to some databases"));
            }
            Token::DollarQuotedString(_) if dialect != Dialect::Postgres => {
                return Err(Unread("a `$` in it is a quote to some databases"));
            }
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text)
                if dialect == Dialect::Any && text.contains('\\') =>
            {
                return Err(Unread("a backslash in a text of it is an escape to some databases"));
            }
            Token::Word(word) if dialect == Dialect::Any && word.quote_style.is_some() && word.value.contains('\\') => {
                return Err(Unread("a backslash in a name of it is an escape to some databases"));
            }
            Token::Word(word) if dialect == Dialect::Any && word.quote_style.is_some_and(|quote| quote != '"') => {
                return Err(Unread("a name in it is quoted as only some databases know it"));
            }
            // To some it is a name that what stands in brackets is quoted in.
            Token::LBracket if dialect == Dialect::Any => {
                return Err(Unread("a bracket in it is a quote to some databases"));
            }
            // A letter in front of a text is a name of its own to who doesn't know it: the text ends elsewhere then.
            Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
                if dialect == Dialect::Any =>
            {
                return Err(Unread("a text in it is one that only some databases know"));
            }
            Token::NationalStringLiteral(text)
            | Token::SingleQuotedByteStringLiteral(text)
            | Token::DoubleQuotedByteStringLiteral(text)
            | Token::HexStringLiteral(text)
                if dialect == Dialect::Any && text.contains('\\') =>
            {
                return Err(Unread("a backslash in a text of it is an escape to some databases"));
            }
            Token::Whitespace(_) | Token::Comma | Token::LParen | Token::RParen | Token::Period | Token::SemiColon => {}
            Token::Word(word) if word.quote_style.is_some() || !is_operator(&word.value) => {}
            Token::Number(..) | Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::Placeholder(_) => {
            }
            _ => operators += 1,
        }
    }
    if operators > MOST_OPERATORS { Err(Unread("it has too many operators to be read")) } else { Ok(()) }
}

/// Words that make a tree deeper.
fn is_operator(word: &str) -> bool {
    const OPERATORS: [&str; 12] =
        ["AND", "OR", "NOT", "XOR", "IS", "LIKE", "UNION", "EXCEPT", "INTERSECT", "JOIN", "COLLATE", "AT"];
    OPERATORS.iter().any(|operator| word.eq_ignore_ascii_case(operator))
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    verbs: BTreeSet<String>,
    tables: BTreeSet<String>,
    dangerous: BTreeSet<String>,
    effect: Option<Effect>,
    /// Whether a statement may name tables in a place where nobody looks.
    blind: bool,
    /// How many queries are around.
    depth: usize,
}

impl Seen {
    fn danger(&mut self, what: &str) {
        self.dangerous.insert(what.to_owned());
    }

    fn does(&mut self, effect: Effect) {
        let rank = |effect: Effect| match effect {
            Effect::Read => 0,
            Effect::Write => 1,
            Effect::Destroy => 2,
            _ => 3,
        };
        if self.effect.is_none_or(|so_far| rank(effect) > rank(so_far)) {
            self.effect = Some(effect);
        }
    }

    /// A table, by its full name and by its last part: a rule on either holds.
    fn table(&mut self, name: &ObjectName) {
        let mut parts = Vec::new();
        for part in &name.0 {
            match part {
                ObjectNamePart::Identifier(ident) => parts.push(identifier(&ident.value, ident.quote_style.is_some())),
                ObjectNamePart::Function(_) => self.blind = true,
            }
        }
        self.tables.extend(parts.last().cloned());
        self.tables.insert(parts.join("."));
    }

    fn function(&mut self, name: &ObjectName) {
        let known = match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => functions::is_pure(&ident.value.to_lowercase()),
            _ => false,
        };
        if !known {
            self.danger("unknown_function");
            self.does(Effect::Unknown);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        let text = statement.to_string();
        let verb = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
        let effect = match statement {
            // Its parts are told by `pre_visit_query`.
            Statement::Query(_) => return,
            Statement::Insert(_) => Effect::Write,
            Statement::Update(update) => {
                if !update.selection.as_ref().is_some_and(looks_at_rows) {
                    self.danger("update_without_where");
                }
                Effect::Write
            }
            Statement::Delete(delete) => {
                delete.tables.iter().for_each(|name| self.table(name));
                if !delete.selection.as_ref().is_some_and(looks_at_rows) {
                    self.danger("delete_without_where");
                }
                Effect::Destroy
            }
            Statement::Merge(merge) => {
                let deletes = merge.clauses.iter().any(|clause| matches!(clause.action, MergeAction::Delete { .. }));
                if deletes { Effect::Destroy } else { Effect::Write }
            }
            Statement::Truncate(truncate) => {
                truncate.table_names.iter().for_each(|target| self.table(&target.name));
                self.danger("truncate");
                Effect::Destroy
            }
            Statement::Drop { names, table, .. } => {
                names.iter().chain(table).for_each(|name| self.table(name));
                self.danger("drop");
                Effect::Destroy
            }
            Statement::AlterTable(_) => {
                self.danger("alter");
                Effect::Write
            }
            Statement::CreateTable(create) => {
                self.table(&create.name);
                Effect::Write
            }
            Statement::CreateView(create) => {
                self.table(&create.name);
                Effect::Write
            }
            Statement::CreateIndex(create) => {
                self.table(&create.table_name);
                Effect::Write
            }
            Statement::Copy { to, target, .. } => {
                self.blind = true;
                match target {
                    CopyTarget::Program { .. } => self.danger("copy_program"),
                    CopyTarget::File { .. } => self.danger("copy_file"),
                    CopyTarget::Stdin | CopyTarget::Stdout => {}
                }
                if *to && *target == CopyTarget::Stdout { Effect::Read } else { Effect::Write }
            }
            // What is explained is told as if it ran: whether it does, options say.
            Statement::Explain { .. } => Effect::Read,
            Statement::ExplainTable { table_name, .. } => {
                self.table(table_name);
                Effect::Read
            }
            Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. } => Effect::Read,
            _ => self.other(&verb, &text),
        };
        if self.depth > 0 && effect != Effect::Read {
            self.danger("write_in_cte");
        }
        self.does(effect);
        self.verbs.insert(verb);
    }

    /// Statements of which no part is looked into.
    fn other(&mut self, verb: &str, text: &str) -> Effect {
        self.blind = true;
        let code = ["FUNCTION", "PROCEDURE", "TRIGGER", "RULE", "EXTENSION", "AGGREGATE", "MACRO", "OPERATOR", "EVENT"];
        let head: Vec<&str> = text.split_ascii_whitespace().take(6).collect();
        match verb {
            "show" => Effect::Read,
            "drop" => {
                self.danger("drop");
                Effect::Destroy
            }
            "alter" | "grant" | "revoke" | "set" | "call" => {
                self.danger(verb);
                if verb == "call" { Effect::Unknown } else { Effect::Write }
            }
            "create" if head.iter().any(|word| code.contains(&word.trim_end_matches('('))) => {
                self.danger("create_code");
                Effect::Write
            }
            _ => {
                self.danger("other_statement");
                Effect::Unknown
            }
        }
    }

    /// Takes the names that a `WITH` gives off the tables, where they can't be tables too: each is used only after it was given.
    fn forget_own_names(&mut self, query: &Query) {
        let Some(with) = &query.with else { return };
        let names: Vec<String> = with
            .cte_tables
            .iter()
            .map(|cte| identifier(&cte.alias.name.value, cte.alias.name.quote_style.is_some()))
            .collect();
        let nested = with.cte_tables.iter().enumerate().any(|(index, cte)| {
            let mut inside = Inside::default();
            let _ = cte.query.visit(&mut inside);
            let not_yet = names.iter().skip(if with.recursive { index + 1 } else { index });
            inside.gives_names || not_yet.into_iter().any(|name| inside.tables.contains(name))
        });
        let mut body = Inside::default();
        let _ = query.body.visit(&mut body);
        if !nested && !body.gives_names {
            self.tables.retain(|table| !names.contains(table));
        }
    }
}

/// The tables of a part of a query, and whether it has a `WITH` of its own.
#[derive(Debug, Default)]
struct Inside {
    tables: BTreeSet<String>,
    gives_names: bool,
}

impl Visitor for Inside {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.gives_names |= query.with.is_some();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        let mut seen = Seen::default();
        seen.table(name);
        self.tables.append(&mut seen.tables);
        ControlFlow::Continue(())
    }
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        self.statement(statement);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        self.bodies(&query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.into.is_some() {
            // A table that is made, or a file.
            self.blind = true;
            self.danger("select_into");
            self.does(Effect::Write);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.table(name);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => self.function(name),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(Function { name, .. }) => self.function(name),
            // An operator of one's own calls a function.
            Expr::BinaryOp { op: BinaryOperator::PGCustomBinaryOperator(_) | BinaryOperator::Custom(_), .. } => {
                self.danger("unknown_function");
                self.does(Effect::Unknown);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Seen {
    fn bodies(&mut self, body: &SetExpr) {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.bodies(left);
                self.bodies(right);
            }
            SetExpr::Table(table) => {
                let parts = table.schema_name.iter().chain(&table.table_name);
                let parts: Vec<String> =
                    parts.map(|part| identifier(&part.value, part.quote_style.is_some())).collect();
                self.tables.extend(parts.last().cloned());
                self.tables.insert(parts.join("."));
                self.reads();
            }
            SetExpr::Select(_) | SetExpr::Values(_) => self.reads(),
            // Queries and statements are visited by themselves.
            SetExpr::Query(_) | SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {}
        }
    }

    fn reads(&mut self) {
        self.verbs.insert("select".to_owned());
        self.does(Effect::Read);
    }
}

/// A name as policies write it: in lower case, unless its quotes keep it apart from that.
fn identifier(value: &str, quoted: bool) -> String {
    let plain = value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match quoted {
        false => value.to_lowercase(),
        true if plain && value != super::NONE => value.to_owned(),
        true => format!("{value:?}"),
    }
}

/// Whether a condition depends on the row at all: `1=1` doesn't.
fn looks_at_rows(condition: &Expr) -> bool {
    struct Columns(bool);
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            ControlFlow::Continue(())
        }
    }
    let mut columns = Columns(false);
    let _ = condition.visit(&mut columns);
    columns.0
}
