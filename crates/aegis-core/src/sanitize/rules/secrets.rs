//! Secrets of providers, known by how they start (or by a mark within). A pattern is tried where one of its `marks` stands, at most
//! `back` letters before it; what is taken out is its group `v` where it has one, else all of it.

use super::Family;
use super::lively::{
    basic, credentials, entropic, generic, header, header_value, jwt, key_body, literal, not_a_filler, password, phone,
    record, slack, uncommon, varied_hex,
};

/// Which letters.
type Class = fn(u8) -> bool;

/// One kind of secret.
pub(in crate::sanitize) struct Token {
    pub(in crate::sanitize) family: Family,
    pub(in crate::sanitize) kind: &'static str,
    pub(in crate::sanitize) marks: &'static [&'static str],
    /// How far before the mark it may start, and of which letters that is.
    pub(in crate::sanitize) back: Option<(usize, Class)>,
    pub(in crate::sanitize) pattern: &'static str,
    /// What it must also be; it is asked of what is taken out.
    pub(in crate::sanitize) holds: fn(&str) -> bool,
}

fn mail(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"._%+-".contains(&c)
}

fn scheme(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"+.-".contains(&c)
}

fn digit(c: u8) -> bool {
    c.is_ascii_digit()
}

fn hex(c: u8) -> bool {
    c.is_ascii_hexdigit()
}

fn azure(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"_~.-".contains(&c)
}

fn word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"_-".contains(&c)
}

macro_rules! tokens {
    ($($family:ident $kind:literal [$($mark:literal),*] $(($most:literal $class:ident))? $holds:ident $pattern:literal;)*) => {
        pub(in crate::sanitize) static TOKENS: &[Token] = &[$(Token {
            family: Family::$family,
            kind: $kind,
            marks: &[$($mark),*],
            back: tokens!(@back $($most $class)?),
            pattern: $pattern,
            holds: $holds,
        }),*];
    };
    (@back) => { None };
    (@back $most:literal $class:ident) => { Some(($most, $class)) };
}

// More particular before less particular. The marks are met in any case; the patterns say which.
tokens! {
    Secrets "private_key" ["-----BEGIN"] key_body r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]{8,}?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)";
    Secrets "private_key" ["AGE-SECRET-KEY-1"] not_a_filler r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}";
    Secrets "jwt" ["eyJ"] jwt r"eyJ[A-Za-z0-9_-]{8,}={0,2}\.eyJ[A-Za-z0-9_-]{8,}={0,2}(?:\.[A-Za-z0-9_-]{8,})?";
    Secrets "jwt" ["eyJ"] jwt r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{0,}\.[A-Za-z0-9_-]{12,100}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{12,100}";
    // Clouds
    Secrets "aws_access_key" ["AKIA", "ASIA", "ABIA", "ACCA", "A3T"] not_a_filler r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}";
    Secrets "aws_bedrock_key" ["ABSK", "bedrock-api-key-"] not_a_filler r"(?:ABSK[A-Za-z0-9+/]{109,269}={0,2}|bedrock-api-key-[A-Za-z0-9+/=_-]{30,})";
    Secrets "google_api_key" ["AIza"] not_a_filler r"AIza[A-Za-z0-9_-]{35}";
    Secrets "google_oauth_token" ["ya29.", "GOCSPX-", "1//0"] not_a_filler r"(?:ya29\.[A-Za-z0-9_-]{30,}|GOCSPX-[A-Za-z0-9_-]{28}|1//0[A-Za-z0-9_-]{40,})";
    Secrets "azure_storage_key" ["AccountKey=", "SharedAccessKey="] not_a_filler r"(?i)(?:AccountKey|SharedAccessKey)=(?P<v>[A-Za-z0-9+/]{40,88}={0,2})";
    Secrets "azure_signature" ["sig="] not_a_filler r"(?i)sig=(?P<v>[A-Za-z0-9%+/]{40,80}(?:%3d|=))";
    Secrets "azure_client_secret" ["Q~"] (4 azure) not_a_filler r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}";
    Secrets "digitalocean_token" ["dop_v1_", "doo_v1_", "dor_v1_"] not_a_filler r"do[opr]_v1_[a-f0-9]{64}";
    Secrets "alibaba_key" ["LTAI"] not_a_filler r"LTAI[A-Za-z0-9]{17,21}";
    Secrets "tencent_key" ["AKID"] not_a_filler r"AKID[A-Za-z0-9]{32}";
    Secrets "yandex_key" ["AQVN", "YCAJE"] not_a_filler r"(?:AQVN[A-Za-z0-9_-]{35,38}|YCAJE[A-Za-z0-9_-]{20})";
    Secrets "cloudflare_key" ["v1.0-"] varied_hex r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}";
    Secrets "heroku_key" ["HRKU-"] not_a_filler r"HRKU-[A-Za-z0-9_-]{36,60}";
    Secrets "flyio_token" ["fo1_", "fm1_", "fm1a_", "fm1r_", "fm2_"] not_a_filler r"(?:fo1_[A-Za-z0-9_-]{43}|fm1[ar]?_[A-Za-z0-9+/]{100,}={0,3}|fm2_[A-Za-z0-9+/]{100,}={0,3})";
    Secrets "netlify_token" ["nfp_"] not_a_filler r"nfp_[A-Za-z0-9]{36}";
    Secrets "render_key" ["rnd_"] not_a_filler r"rnd_[A-Za-z0-9]{28,40}";
    // Forges
    Secrets "github_token" ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"] not_a_filler r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})";
    Secrets "gitlab_token" ["glpat-", "gldt-", "glcbt-", "glsoat-", "glptt-", "glrt-", "glft-", "glimt-", "glagent-", "gloas-", "glffct-", "glrtr-", "GR1348941"] not_a_filler r"(?:glpat-[A-Za-z0-9_-]{20,}(?:\.[a-z0-9]{2}\.?[a-z0-9]{7,12})?|glcbt-(?:[a-f0-9]{1,5}_)?[A-Za-z0-9_-]{20}|(?:gldt|glft|glffct|glrtr)-[A-Za-z0-9_-]{20,64}|glsoat-[A-Za-z0-9_-]{20,50}|glptt-[A-Za-z0-9_-]{40}|glrt-(?:t[0-9]_)?[A-Za-z0-9_-]{20,50}(?:\.[a-z0-9]{2}\.?[a-z0-9]{7,12})?|glimt-[A-Za-z0-9_-]{25}|glagent-[A-Za-z0-9_-]{50,}|gloas-[A-Za-z0-9_-]{64}|GR1348941[A-Za-z0-9_-]{20,50})";
    Secrets "bitbucket_token" ["ATBB", "ATCTT3"] not_a_filler r"(?:ATBB[A-Za-z0-9]{32}|ATCTT3[A-Za-z0-9_=-]{100,})";
    Secrets "atlassian_token" ["ATATT3"] not_a_filler r"ATATT3[A-Za-z0-9_=-]{100,}";
    Secrets "sourcegraph_token" ["sgp_"] varied_hex r"sgp_(?:(?:[A-Fa-f0-9]{16}|local)_)?[A-Fa-f0-9]{40}";
    Secrets "sourcegraph_token" ["sourcegraph"] varied_hex r"(?i)sourcegraph[a-z_ -]{0,20}\s?[:=]\s{0,3}[\x22']?(?P<v>[a-f0-9]{40})";
    // Chat and mail
    Secrets "slack_token" ["xoxb-", "xoxa-", "xoxp-", "xoxo-", "xoxs-", "xoxr-", "xoxe-", "xoxe.xox", "xapp-"] slack r"(?:xox[abpors]-(?:[0-9]{6,14}-){1,3}[A-Za-z0-9]{8,64}|xox[ars]-[A-Za-z0-9-]{40,}|xoxe(?:\.xox[bp])?-[0-9]-[A-Za-z0-9]{140,180}|xapp-[0-9]-[A-Z0-9]{8,14}-[0-9]{10,15}-[a-f0-9]{40,80})";
    Secrets "slack_webhook" ["hooks.slack.com/"] not_a_filler r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<v>[A-Za-z0-9+/]{30,90})";
    Secrets "discord_webhook" ["/api/webhooks/"] not_a_filler r"/api/webhooks/[0-9]{17,20}/(?P<v>[A-Za-z0-9_-]{60,80})";
    Secrets "teams_webhook" ["webhook.office.com/webhookb2/"] not_a_filler r"webhook\.office\.com/webhookb2/(?P<v>[a-z0-9@/-]{80,})";
    Secrets "telegram_token" [":AA"] (10 digit) not_a_filler r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}";
    Secrets "sendgrid_key" ["SG."] not_a_filler r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}";
    Secrets "mailchimp_key" ["-us"] (32 hex) varied_hex r"[0-9a-f]{32}-us[0-9]{1,2}";
    Secrets "mailgun_key" ["key-"] varied_hex r"key-[a-f0-9]{32}";
    Secrets "brevo_key" ["xkeysib-"] varied_hex r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}";
    Secrets "twilio_key" ["SK", "AC"] varied_hex r"(?:SK|AC)[0-9a-f]{32}";
    // Payment and shops
    Secrets "stripe_key" ["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"] not_a_filler r"(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{32,64})";
    Secrets "square_token" ["sq0atp-", "sq0csp-", "EAAA"] not_a_filler r"(?:sq0atp-[A-Za-z0-9_-]{22}|sq0csp-[A-Za-z0-9_-]{43}|EAAA[A-Za-z0-9_-]{60})";
    Secrets "shopify_token" ["shpat_", "shpca_", "shppa_", "shpss_"] varied_hex r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}";
    Secrets "paypal_token" ["access_token$"] not_a_filler r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}";
    Secrets "razorpay_key" ["rzp_live_", "rzp_test_"] not_a_filler r"rzp_(?:live|test)_[A-Za-z0-9]{14}";
    Secrets "flutterwave_key" ["FLWSECK"] not_a_filler r"FLWSECK(?:_TEST)?-[A-Za-z0-9]{32}-X";
    Secrets "easypost_key" ["EZAK", "EZTK"] not_a_filler r"EZ[AT]K[A-Za-z0-9]{54}";
    Secrets "shippo_key" ["shippo_live_", "shippo_test_"] varied_hex r"shippo_(?:live|test)_[a-f0-9]{40}";
    Secrets "facebook_token" ["EAA"] not_a_filler r"EAA[MC][A-Za-z0-9]{100,}";
    Secrets "facebook_token" ["|"] (16 digit) not_a_filler r"[0-9]{15,16}\|[A-Za-z0-9_-]{27,40}";
    // Models
    Secrets "anthropic_key" ["sk-ant-api"] not_a_filler r"sk-ant-api[0-9]{2}-[A-Za-z0-9_-]{93}AA";
    Secrets "anthropic_admin_key" ["sk-ant-admin"] not_a_filler r"sk-ant-admin[0-9]{2}-[A-Za-z0-9_-]{93}AA";
    Secrets "llm_api_key" ["sk-"] not_a_filler r"sk-[A-Za-z0-9_-]{20,}";
    Secrets "llm_api_key" ["gsk_", "pplx-", "nvapi-", "xai-", "tgp_v1_", "fw_", "r8_"] not_a_filler r"(?:gsk_[A-Za-z0-9]{52}|pplx-[A-Za-z0-9]{48}|nvapi-[A-Za-z0-9_-]{60,70}|xai-[A-Za-z0-9]{70,84}|tgp_v1_[A-Za-z0-9_-]{43}|fw_[A-Za-z0-9]{24}|r8_[A-Za-z0-9]{37})";
    Secrets "huggingface_token" ["hf_", "api_org_"] entropic r"(?:hf_[A-Za-z]{34}|api_org_[A-Za-z]{34})";
    // Packages and registries
    Secrets "npm_token" ["npm_"] not_a_filler r"npm_[A-Za-z0-9]{36}";
    Secrets "npm_token" ["/:_authToken"] uncommon r"(?i)/:_authToken\s?=\s?(?P<v>[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}|npm_[a-z0-9]{10,40})";
    Secrets "pypi_token" ["pypi-AgE"] not_a_filler r"pypi-AgE[A-Za-z0-9_-]{85,}";
    Secrets "docker_token" ["dckr_pat_", "dckr_oat_"] not_a_filler r"dckr_[po]at_[A-Za-z0-9_-]{27,40}";
    Secrets "cargo_token" ["cio"] entropic r"cio[A-Za-z0-9]{32}";
    Secrets "rubygems_token" ["rubygems_"] varied_hex r"rubygems_[a-f0-9]{48}";
    Secrets "nuget_key" ["oy2"] entropic r"oy2[a-z0-9]{43}";
    Secrets "artifactory_key" ["AKCp", "cmVmd"] not_a_filler r"(?:AKCp[A-Za-z0-9]{69}|cmVmdGtuOjAxOj[A-Za-z0-9]{46,60})";
    // Monitoring, infrastructure, offices
    Secrets "grafana_token" ["glc_", "glsa_"] not_a_filler r"(?:glc_[A-Za-z0-9+/]{32,}={0,3}|glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8})";
    Secrets "newrelic_key" ["NRAK-", "NRJS-", "NRII-"] not_a_filler r"(?:NRAK-[A-Z0-9]{27}|NRJS-[a-f0-9]{19}|NRII-[A-Za-z0-9_-]{32})";
    Secrets "sentry_token" ["sntrys_", "sntryu_"] not_a_filler r"(?:sntrys_eyJ[A-Za-z0-9+/=_-]{80,}|sntryu_[a-f0-9]{64})";
    Secrets "dynatrace_token" ["dt0c01.", "dt0s16."] not_a_filler r"dt0[cs][01][0-9]\.[A-Z0-9]{24}\.[A-Z0-9]{64}";
    Secrets "posthog_key" ["phx_"] not_a_filler r"phx_[A-Za-z0-9]{40,60}";
    Secrets "honeycomb_key" ["hcaik_"] not_a_filler r"hca[im]k_[a-z0-9]{26,60}";
    Secrets "vault_token" ["hvs.", "hvb.", "hvr."] not_a_filler r"hv[sbr]\.[A-Za-z0-9_-]{24,}";
    Secrets "vault_token" ["s."] entropic r"s\.[A-Za-z0-9]{24}";
    Secrets "terraform_token" [".atlasv1."] (14 word) not_a_filler r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}";
    Secrets "pulumi_token" ["pul-"] varied_hex r"pul-[a-f0-9]{40}";
    Secrets "doppler_token" ["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."] not_a_filler r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}";
    Secrets "databricks_token" ["dapi"] varied_hex r"dapi[a-f0-9]{32}(?:-[0-9])?";
    Secrets "openshift_token" ["sha256~"] not_a_filler r"sha256~[A-Za-z0-9_-]{43}";
    Secrets "octopus_key" ["API-"] entropic r"API-[A-Z0-9]{26}";
    Secrets "linear_key" ["lin_api_", "lin_oauth_"] not_a_filler r"lin_(?:api|oauth)_[A-Za-z0-9]{40,64}";
    Secrets "notion_token" ["ntn_", "secret_"] not_a_filler r"(?:ntn_[0-9]{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43})";
    Secrets "airtable_token" ["pat"] varied_hex r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}";
    Secrets "figma_token" ["figd_"] not_a_filler r"figd_[A-Za-z0-9_-]{40,60}";
    Secrets "onepassword_token" ["ops_eyJ"] varied_hex r"ops_eyJ[A-Za-z0-9+/_-]{250,}={0,3}";
    Secrets "onepassword_key" ["A3-"] not_a_filler r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}";
    Secrets "postman_key" ["PMAK-"] varied_hex r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}";
    Secrets "planetscale_token" ["pscale_"] not_a_filler r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9=._-]{32,64}";
    Secrets "supabase_key" ["sbp_", "sb_secret_"] not_a_filler r"(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{22,40})";
    Secrets "prefect_key" ["pnu_"] not_a_filler r"pnu_[A-Za-z0-9]{36}";
    Secrets "readme_key" ["rdme_"] not_a_filler r"rdme_[a-z0-9]{70}";
    Secrets "tailscale_key" ["tskey-"] not_a_filler r"tskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9]{8,20}(?:-[A-Za-z0-9]{20,40})?";
    Secrets "ci_token" ["CCIPAT_", "CCIPRJ_", "bkua_", "bkaj_"] not_a_filler r"(?:CCIP(?:AT|RJ)_[A-Za-z0-9_]{40,80}|bk(?:ua|aj)_[a-f0-9]{40})";
    Secrets "sonar_token" ["sqp_", "squ_", "sqa_"] varied_hex r"sq[pua]_[a-f0-9]{40}";
    Secrets "hubspot_token" ["pat-na1-", "pat-eu1-"] not_a_filler r"pat-(?:na|eu)1-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}";
    Secrets "duffel_token" ["duffel_live_", "duffel_test_"] not_a_filler r"duffel_(?:live|test)_[A-Za-z0-9_=-]{43}";
    Secrets "contentful_token" ["CFPAT-"] not_a_filler r"CFPAT-[A-Za-z0-9_-]{43}";
    Secrets "intra42_secret" ["s-s4t2ud-", "s-s4t2af-"] varied_hex r"s-s4t2(?:ud|af)-[a-f0-9]{64}";
    Secrets "infracost_key" ["ico-"] entropic r"ico-[A-Za-z0-9]{32}";
    Secrets "clickhouse_key" ["4b1d"] entropic r"4b1d[A-Za-z0-9]{38}";
    Secrets "perplexity_key" ["pplx-"] not_a_filler r"pplx-[A-Za-z0-9]{48}";
    Secrets "aegis_key" ["aegis_", "aeg_", "aego_", "ovr_"] not_a_filler r"(?:aegis|aego?|ovr)_[A-Za-z0-9_-]{40,}";
    Secrets "discord_token" ["."] (26 word) entropic r"[MNOA][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}";
    // By what stands around it
    Secrets "url_password" ["://"] (20 scheme) literal r#"(?i)[a-z][a-z0-9+.-]{0,20}://[^\s/:@\x22'<>?#]{0,100}:(?P<v>[^\s/@\x22'<>]{1,})@[a-z0-9\[]"#;
    Secrets "authorization_header" ["authorization", "x-api-key", "api-key", "x-auth-token", "private-token", "proxy-authorization"] header r#"(?i)(?:proxy-)?(?:authorization|(?:x-)?api-key|x-auth-token|private-token)\\?[\x22']?\s{0,2}[:=]\s{0,2}\\?[\x22']?(?:(?:basic|bearer|token|apikey|bot|digest|negotiate)\s{1,2})?(?P<v>[A-Za-z0-9._~+/=:-]{8,})"#;
    Secrets "authorization_header" ["-H ", "--header"] header_value r#"(?i)(?:-H|--header)[ =]{0,2}\\?[\x22'][a-z-]{0,30}(?:token|key|auth|secret|authorization)[a-z-]{0,20}:\s{0,2}(?:(?:basic|bearer|token)\s)?(?P<v>[^\s\x22'\\]{8,})"#;
    Secrets "authorization_header" ["bearer "] entropic r"(?i)bearer\s{1,2}(?P<v>[A-Za-z0-9._~+/=-]{20,})";
    Secrets "basic_auth" ["basic "] basic r"(?i)basic\s{1,2}(?P<v>[A-Za-z0-9+/_-]{8,}={0,2})";
    Secrets "basic_auth" ["curl "] credentials r#"(?i)curl\s[^\n]{0,}?\s?(?:-u|--user|--proxy-user|-U)[ =]{0,2}(?P<v>[\x22']?[^\s\x22':]{0,80}[\x22']?:[\x22']?[^\s\x22']{0,100})"#;
    Secrets "generic_secret" ["password", "passwd", "passphrase", "pwd"] password r#"(?i)(?:password|passwd|passphrase|pwd)\\{0,4}[\x22'`]?\s{0,3}(?:=>|:=|==|=|:)\s{0,3}\\{0,4}[\x22'`]?(?P<v>[^\s\x22'`<>(){},;\\]{6,})"#;
    Secrets "generic_secret" ["secret", "token", "api_key", "api-key", "apikey", "access_key", "accesskey", "access-key", "auth_key", "authkey", "private_key", "privatekey", "encryption_key", "signing_key", "secretkey", "credential", "client_key", "master_key", "auth"] generic r#"(?i)(?:secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|private_?key|encryption_key|signing_key|secretkey|credentials?|client_key|master_key|auth)(?:[_.-]?(?:key|token|value|secret|hash|access)){0,2}\\{0,4}[\x22'`]?\s{0,3}(?:=>|:=|=|:)\s{0,3}\\{0,4}[\x22'`]?(?P<v>[^\s\x22'`<>(){},;\\]{10,})"#;
    // People
    Pii "email" ["@"] (64 mail) uncommon r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.){1,8}[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z]";
    Pii "phone_number" ["+"] phone r"\+[1-9][0-9](?:[ ().-]{0,2}[0-9]){6,12}";
    Phi "medical_record_number" ["mrn", "medical record", "patient id"] record r"(?i)(?:mrn|medical record(?: (?:number|no\.?))?|patient id)\s{0,2}[:#=]?\s{0,2}(?P<v>[A-Z]{0,3}-?[0-9][0-9-]{4,11})";
    Pii "driving_licence" ["driver", "driving"] record r"(?i)(?:driver'?s?|driving)[ _-]?licen[cs]e(?: (?:number|no\.?))?\s{0,2}[:#=]?\s{0,2}(?P<v>[A-Z0-9]{1,6}[0-9][A-Z0-9]{4,12})";
    Pii "bank_account" ["account number", "account no", "acct", "kontonummer"] record r"(?i)(?:account (?:number|no\.?)|acct\.?(?: no\.?)?|kontonummer)\s{0,2}[:#=]?\s{0,2}(?P<v>[0-9]{6,17})";
}
