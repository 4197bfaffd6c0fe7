//! The command line as typed by the user. What each command does: [`crate::commands`].

mod authoring;
mod lifecycle;
pub(crate) mod versions;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use authoring::{CheckArgs, Format, TestArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use lifecycle::{DiffArgs, ExportArgs, FailOn, ReplayArgs, SchemaName};

/// A policy gateway for the agents that drive your CI/CD: decides, enforces and records every call.
#[derive(Debug, Parser)]
#[command(
    name = "aegis",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  aegis demo                      see agents being stopped, nothing to prepare\n  \
                  aegis init && aegis serve       start with a configuration of your own\n\n\
                  Exit code: 0 done, 1 the answer is no, 2 bad use or input."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The configuration; `aegis.yaml` here when there is one
    #[arg(long, global = true, env = "AEGIS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Answer in JSON, for machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch four agents being stopped by a real gateway; nothing to prepare
    #[command(
        after_help = "Examples:\n  aegis demo                    four stories, then the gateway stays up to be looked at\n  \
                            aegis demo --once             the stories only; exits 0 when all went as they should\n  \
                            aegis demo --approve manual   you are the human who is asked"
    )]
    Demo(DemoArgs),
    /// Write a commented aegis.yaml and starter policies
    #[command(after_help = "Example:\n  aegis init gateway && cd gateway && aegis serve --check")]
    Init {
        /// Where; made when missing
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Run the gateway
    #[command(
        after_help = "Examples:\n  aegis serve --config /etc/aegis/aegis.yaml\n  aegis serve --check     load everything, bind nothing, say what is wrong\n\n\
                      It is up when it prints `\"ready\":true`; Ctrl-C ends it."
    )]
    Serve {
        /// Load and check everything, bind nothing; exits 0 or 1
        #[arg(long)]
        check: bool,
    },
    /// Register agents and stop them
    #[command(subcommand, after_help = "Example:\n  aegis agent add deploy-manager --group ci")]
    Agent(AgentCommand),
    /// API keys, which agents exchange for tokens
    #[command(subcommand, after_help = "Example:\n  aegis key add deploy-manager --json")]
    Key(KeyCommand),
    /// Short-lived tokens, which agents send with their calls
    #[command(subcommand, after_help = "Example:\n  aegis token issue deploy-manager --ttl 10m")]
    Token(TokenCommand),
    /// Check, compile and explain policies; publish them, go back, try them on a part of the calls
    #[command(subcommand, after_help = "Example:\n  aegis policy check policies/")]
    Policy(PolicyCommand),
    /// What waits for a human, and the human's answer
    #[command(subcommand, after_help = "Example:\n  aegis approvals list --status pending")]
    Approvals(ApprovalsCommand),
    /// An MCP server over standard input and output, decided by the gateway; and what servers' tools are
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "Examples:\n  aegis mcp --server files -- npx -y some-mcp-server /srv   what a client starts instead of the server\n  aegis mcp list --server files"
    )]
    Mcp {
        /// What servers' tools are
        #[command(subcommand)]
        command: Option<McpCommand>,
        /// The server to start
        #[command(flatten)]
        bridge: Option<BridgeArgs>,
    },
    /// The record of every decision
    #[command(subcommand, after_help = "Example:\n  aegis audit tail --follow")]
    Audit(AuditCommand),
    /// What was watched, for deciding whether to enforce it
    #[command(subcommand, after_help = "Example:\n  aegis report shadow --since 14d")]
    Report(ReportCommand),
    /// The tool catalogue
    #[command(
        subcommand,
        after_help = "Example:\n  aegis tools match --request request.http --route-tool kubernetes --cluster main"
    )]
    Tools(ToolsCommand),
    /// What a file holds that must not leave: personal data, health data, secrets
    #[command(subcommand, after_help = "Example:\n  aegis dlp scan request.json")]
    Dlp(DlpCommand),
    /// Signed policy bundles
    #[command(subcommand, after_help = "Example:\n  aegis bundle verify bundle.tar.gz --key bundle.pem")]
    Bundle(BundleCommand),
    /// The gateway's own certificate authority
    #[command(subcommand, after_help = "Example:\n  aegis ca export --out aegis-ca.pem")]
    Ca(CaCommand),
    /// The JSON Schema of policies, of the configuration or of tests, for editors
    #[command(after_help = "Example:\n  aegis schema policy > policy.schema.json\n\n\
                            In a policy's first line, for editors with a YAML language server:\n  \
                            # yaml-language-server: $schema=../policy.schema.json")]
    Schema {
        /// Of which files
        #[arg(value_enum, default_value_t = SchemaName::Policy)]
        name: SchemaName,
    },
    /// Which version this is
    #[command(after_help = "Example:\n  aegis version --json")]
    Version,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Run the stories, say how many passed, and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// Who answers when a human is asked
    #[arg(long, value_enum, default_value_t = Approve::Auto)]
    pub(crate) approve: Approve,
    /// Where the API listens while the demo stays up
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) api: SocketAddr,
}

/// Who answers when the demo asks a human.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Approve {
    /// The demo, through the operators' API
    Auto,
    /// You, with `aegis approvals approve` in another terminal
    Manual,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Register an agent
    #[command(after_help = "Example:\n  aegis agent add deploy-manager --group ci --group prod")]
    Add {
        /// Its name
        name: String,
        /// A group that it is in; may be repeated
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// All agents
    #[command(after_help = "Example:\n  aegis agent list --json")]
    List,
    /// One agent
    #[command(after_help = "Example:\n  aegis agent show deploy-manager")]
    Show {
        /// Its name
        name: String,
    },
    /// The kill switch: refuse every call of it from now on
    #[command(after_help = "Example:\n  aegis agent suspend deploy-manager")]
    Suspend {
        /// Its name
        name: String,
    },
    /// Let a suspended agent work again
    #[command(after_help = "Example:\n  aegis agent resume deploy-manager")]
    Resume {
        /// Its name
        name: String,
    },
    /// Remove an agent; its keys and tokens never work again
    #[command(after_help = "Example:\n  aegis agent remove deploy-manager")]
    Remove {
        /// Its name
        name: String,
    },
}

/// The agent that it is for: `NAME` or `--agent NAME`, one of them.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct OfAgent {
    /// The agent
    #[arg(value_name = "AGENT")]
    name: Option<String>,
    /// The same, by name
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
}

impl OfAgent {
    /// The agent's name; the command line isn't read without one.
    pub(crate) fn agent(self) -> String {
        self.name.or(self.agent).unwrap_or_default()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make an API key; it is shown once
    #[command(after_help = "Example:\n  aegis key add deploy-manager --json | jq -r .key")]
    Add(OfAgent),
    /// An agent's keys, without the keys themselves
    #[command(after_help = "Example:\n  aegis key list deploy-manager")]
    List(OfAgent),
    /// Make a key worthless
    #[command(after_help = "Example:\n  aegis key revoke key_01k5")]
    Revoke {
        /// The key's id, from `aegis key list`
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Issue a token for an agent
    #[command(after_help = "Example:\n  TOKEN=$(aegis token issue deploy-manager --ttl 10m)")]
    Issue {
        #[command(flatten)]
        of: OfAgent,
        /// How long it holds, up to 1h; the configuration's token_ttl when not given
        #[arg(long, value_name = "DURATION")]
        ttl: Option<String>,
    },
    /// Make a token worthless before it runs out
    #[command(after_help = "Example:\n  aegis token revoke \"$TOKEN\"")]
    Revoke {
        /// The token; `-` reads it from standard input
        token: String,
    },
    /// Show what a token says, without checking its signature
    #[command(after_help = "Example:\n  aegis token inspect \"$TOKEN\"")]
    Inspect {
        /// The token; `-` reads it from standard input
        token: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Say everything that is wrong with policies, and where
    #[command(after_help = "Examples:\n  aegis policy check policies/ extra.yaml\n  \
                            aegis policy check policies/ --format sarif --deny-warnings > policies.sarif")]
    Check(CheckArgs),
    /// Run the cases beside policies: *.test.yaml
    #[command(after_help = "Examples:\n  aegis policy test policies/\n  \
                            aegis policy test policies/ --coverage-min 80% --junit results.xml\n\n\
                            deploy.test.yaml:\n  cases:\n    - case: 51 replicas are too many\n      agent: deploy-manager\n      \
                            call: {tool: kubernetes, action: scale, env: staging, params: {replicas: 51}}\n      \
                            expect: {decision: deny, rules: [max_replicas]}")]
    Test(TestArgs),
    /// Compile policies into a bundle that any Open Policy Agent loads
    #[command(after_help = "Examples:\n  aegis policy compile policies/ --out bundle.tar.gz\n  \
                            opa build -t wasm -e aegis/gate/evaluation -b bundle.tar.gz -o built.tar.gz\n  \
                            aegis policy compile policies/ --wasm built.tar.gz --out bundle.tar.gz")]
    Compile {
        /// Folders and files; the configuration's policies when none is named
        paths: Vec<PathBuf>,
        /// What `opa build -t wasm` made of the same bundle: its policy.wasm is put beside the policies, for `engine: wasm`
        #[arg(long, value_name = "FILE")]
        wasm: Option<PathBuf>,
        /// Where to write the bundle
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show how a call would be decided, and by which rules
    #[command(after_help = "Examples:\n  aegis policy explain call.json\n  \
                            aegis policy explain --agent deploy-manager --request scale.http --route-tool kubernetes\n\n\
                            call.json: {\"agent\": \"deploy-manager\", \"tool\": \"kubernetes\", \"action\": \"scale\",\n            \
                            \"classes\": [\"deploy\"], \"env\": \"staging\", \"params\": {\"replicas\": 51}}")]
    Explain(ExplainArgs),
    /// Say in words what changes between two sets of policies: who may do more, who less
    #[command(
        after_help = "Examples:\n  aegis policy diff                       what is in force, and what is in the folder\n  \
                            aegis policy diff pol_0123456789ab released.tar.gz\n  \
                            aegis policy diff policies-of-main/ policies/ --exit-code   a check that fails when rights grow\n\n\
                            + more (red): somebody may do what was refused until now; - less (green): the reverse;\n\
                            ~ diff (yellow): it can be either, such as another condition."
    )]
    Diff(DiffArgs),
    /// Ask a candidate about the calls that were recorded: what would it have said?
    #[command(after_help = "Examples:\n  aegis policy replay --candidate policies/ --since 24h\n  \
                            aegis policy replay --file calls.jsonl --fail-on newly-allowed\n\n\
                            Calls are recorded where aegis.yaml says `audit: {calls: 7d}`.\n\
                            Compared are the policies alone: rates, approvals at hand and the gateway's own\n\
                            guards are left out.")]
    Replay(ReplayArgs),
    #[command(flatten)]
    Versions(versions::VersionsCommand),
    /// Turn what shadow mode has seen into a patch of the policies
    #[command(after_help = "Examples:\n  aegis policy suggest > suggestion.patch && patch -p0 < suggestion.patch\n  \
                      aegis policy suggest --policy deploy-manager --since 14d\n\n\
                      Read it before you apply it: what is frequent isn't always right.")]
    Suggest(ShadowArgs),
    /// Watch other policies on live calls, and promote them once enough was seen
    #[command(subcommand, after_help = "Example:\n  aegis policy candidate set next/ && aegis policy candidate show")]
    Candidate(CandidateCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CandidateCommand {
    /// Ask these policies about every call from now on, and don't obey them
    #[command(after_help = "Example:\n  aegis policy candidate set next/")]
    Set {
        /// Folders and files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// What the candidate would change: calls compared, disagreements by rule and agent
    #[command(after_help = "Example:\n  aegis policy candidate show --json | jq .report.stricter")]
    Show,
    /// Stop asking it
    #[command(after_help = "Example:\n  aegis policy candidate clear")]
    Clear,
    /// Put it in force, if enough was seen of it
    #[command(after_help = "Examples:\n  aegis policy candidate promote\n  \
                            aegis policy candidate promote --days 14 --calls 1000 --allow-new-blocks\n\n\
                            Exits 1 and says what is missing, unless every point is met or --force is given.")]
    Promote(PromoteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    /// Days on which calls must have been compared
    #[arg(long, default_value_t = 7)]
    pub(crate) days: u32,
    /// Calls that must have been compared
    #[arg(long, default_value_t = 100)]
    pub(crate) calls: u64,
    /// Promote it although it holds back what passes now
    #[arg(long)]
    pub(crate) allow_new_blocks: bool,
    /// Promote it although it lets pass what is held back now
    #[arg(long)]
    pub(crate) allow_new_allows: bool,
    /// Promote it whatever was seen; recorded as forced
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// What shadow mode let pass: by rule, policy and agent, with the limits that would have let it pass
    #[command(after_help = "Example:\n  aegis report shadow --since 14d --policy deploy-manager")]
    Shadow(ShadowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ShadowArgs {
    /// How far back, in whole days
    #[arg(long, value_name = "DAYS", default_value = "30d")]
    pub(crate) since: String,
    /// Only this policy
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A described call, as JSON; `-` reads it from standard input
    #[arg(required_unless_present = "request", conflicts_with = "request")]
    pub(crate) call: Option<PathBuf>,
    /// The agent, with --request
    #[arg(long, requires = "request")]
    pub(crate) agent: Option<String>,
    /// A group the agent is in, with --request; may be repeated
    #[arg(long = "group", value_name = "GROUP", requires = "request")]
    pub(crate) groups: Vec<String>,
    /// A raw HTTP/1.1 request to describe first
    #[arg(long, value_name = "FILE", requires = "agent")]
    pub(crate) request: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) route: RouteArgs,
}

/// By which route a raw request would come.
#[derive(Debug, Clone, Args)]
pub(crate) struct RouteArgs {
    /// The tool behind the route that it would come by; without one it is read as a forward proxy's request
    #[arg(long, value_name = "TOOL", requires = "request")]
    pub(crate) route_tool: Option<String>,
    /// The route's cluster
    #[arg(long, value_name = "NAME", requires = "route_tool")]
    pub(crate) cluster: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BridgeArgs {
    /// Its name in the gateway's configuration (`mcp:`)
    #[arg(long, default_value = "local")]
    pub(crate) server: String,
    /// The gateway's proxy
    #[arg(long, env = "AEGIS_PROXY_URL", default_value = "http://127.0.0.1:4180")]
    pub(crate) gateway: String,
    /// The agent's token; the server doesn't get it
    #[arg(long, env = "AEGIS_TOKEN", hide_env_values = true)]
    pub(crate) token: String,
    /// The server's command, after `--`
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// The tools that servers have listed, and whether each is what was accepted
    #[command(after_help = "Example:\n  aegis mcp list --server files")]
    List {
        /// Of this server only
        #[arg(long)]
        server: Option<String>,
    },
    /// Accept tools as they are now: what was seen last is trusted from now on
    #[command(after_help = "Example:\n  aegis mcp accept files write_file")]
    Accept {
        /// The server's name
        server: String,
        /// One tool; all of the server's when left out
        tool: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// Requests and what became of them
    #[command(after_help = "Example:\n  aegis approvals list --status pending")]
    List {
        /// pending, approved, rejected, expired, cancelled, spent or lapsed
        #[arg(long)]
        status: Option<String>,
    },
    /// One request, with the parameters that would run
    #[command(after_help = "Example:\n  aegis approvals show apr_01k5")]
    Show {
        /// The approval's id
        id: String,
    },
    /// Say yes: the same call passes once
    #[command(after_help = "Example:\n  aegis approvals approve apr_01k5 --comment 'planned release'")]
    Approve(AnswerArgs),
    /// Say no
    #[command(after_help = "Example:\n  aegis approvals reject apr_01k5 --comment 'wrong cluster'")]
    Reject(AnswerArgs),
    /// Withdraw a request, or an approval that isn't used yet
    #[command(after_help = "Example:\n  aegis approvals cancel apr_01k5")]
    Cancel(AnswerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The approval's id
    pub(crate) id: String,
    /// Why; kept with the record
    #[arg(long)]
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// The newest records
    #[command(after_help = "Examples:\n  aegis audit tail -n 20\n  aegis audit tail --follow --json | jq .decision")]
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        lines: u32,
        /// Wait for more and print it as it comes
        #[arg(short, long)]
        follow: bool,
    },
    /// Records that match
    #[command(after_help = "Example:\n  aegis audit query --agent deploy-manager --decision deny --limit 50")]
    Query(QueryArgs),
    /// Write what is kept, one JSON document per line
    #[command(after_help = "Example:\n  aegis audit export --calls --since 24h > calls.jsonl")]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// By this agent
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Of this tool
    #[arg(long)]
    pub(crate) tool: Option<String>,
    /// Of this action
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// allow, sanitize, approval_needed or deny
    #[arg(long)]
    pub(crate) decision: Option<String>,
    /// With this code, e.g. PolicyViolation
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Of this decision
    #[arg(long, value_name = "ID")]
    pub(crate) decision_id: Option<String>,
    /// Not before this time, such as 2026-01-31T12:00:00Z, or 24h for a day ago
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this time, such as 2026-01-31T12:00:00Z, or 1h for an hour ago
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

/// `aegis dlp`.
#[derive(Debug, Subcommand)]
pub(crate) enum DlpCommand {
    /// Say what is in a file and where, never the value; exits 1 when something was found
    #[command(
        after_help = "Examples:\n  aegis dlp scan request.json\n  kubectl get configmap app -o json | aegis dlp scan - --detect secrets"
    )]
    Scan {
        /// The file; `-` is standard input
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
        /// Families (phi, pii, secrets) and types to look for, separated by commas; all when left out
        #[arg(long, value_delimiter = ',')]
        detect: Vec<String>,
    },
    /// List what can be looked for
    #[command(after_help = "Example:\n  aegis dlp types --json")]
    Types,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolsCommand {
    /// The tools and actions that are known
    #[command(after_help = "Example:\n  aegis tools list --tool kubernetes")]
    List {
        /// Only this tool
        #[arg(long, value_name = "NAME")]
        tool: Option<String>,
    },
    /// Make a catalogue file of an OpenAPI 3 document (YAML or JSON), to be looked through before it is used
    #[command(after_help = "Example:\n  aegis tools import openapi.yaml --tool shop -o tools/shop.yaml")]
    Import {
        /// The document; `-` reads it from standard input
        #[arg(value_name = "FILE")]
        document: PathBuf,
        /// The tool's name; without, it is made of the document's title
        #[arg(long, value_name = "NAME")]
        tool: Option<String>,
        /// Where to write the file; without, it is printed
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Run the catalogue's own cases
    #[command(after_help = "Example:\n  aegis tools check")]
    Check,
    /// Say which tool call a raw HTTP/1.1 request is
    #[command(after_help = "Example:\n  aegis tools match --request scale.http --route-tool kubernetes --cluster main")]
    Match {
        /// The request; `-` reads it from standard input
        #[arg(long, value_name = "FILE")]
        request: PathBuf,
        #[command(flatten)]
        route: RouteArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Print the public key that this gateway's bundles are verified with
    #[command(after_help = "Example:\n  aegis bundle key > bundle.pem")]
    Key,
    /// Sign a bundle, as OPA does
    #[command(after_help = "Example:\n  aegis policy compile --out bundle.tar.gz\n  \
                            aegis bundle sign bundle.tar.gz --key aegis-data/bundle-signing.key")]
    Sign {
        /// The bundle; `-` reads it from standard input
        bundle: PathBuf,
        /// The private key: ECDSA P-256, PKCS#8 in PEM, readable by its owner only
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where to write the signed bundle; over the bundle when not given
        #[arg(long, short, value_name = "FILE", required_if_eq("bundle", "-"))]
        out: Option<PathBuf>,
    },
    /// Say whether a bundle is signed by one of these keys and unchanged; exits 0 or 1
    #[command(after_help = "Example:\n  aegis bundle verify bundle.tar.gz --key bundle.pem")]
    Verify {
        /// The bundle; `-` reads it from standard input
        bundle: PathBuf,
        /// A public key in PEM; may be repeated
        #[arg(long = "key", value_name = "FILE", required = true)]
        keys: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make the next CA, in force at once; the old one certifies it, so clients go on as they are
    #[command(after_help = "Example:\n  aegis ca rotate && aegis ca export > aegis-ca.pem")]
    Rotate,
    /// Write the CA's certificate (and those before it that haven't ended), for clients to trust
    #[command(after_help = "Example:\n  aegis ca export > aegis-ca.pem")]
    Export {
        /// Where to write it; standard output when not given
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}
