//! `tidings token`.

use crate::auth::api_key::ApiKey;
use crate::auth::{Permissions, Secret, Template, jwt, key};
use anyhow::{Context, bail, ensure};
use clap::Args;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Claims that have options of their own.
const OWN: [&str; 5] = ["sub", "tidings", "exp", "iat", "nbf"];
/// The longest that a token may hold: servers take what ends later for a mistake.
const MAX_TTL: Duration = jwt::MAX_AHEAD;

const NOBODY: &str = "the token has no subject and grants nothing: it may do what the server's --grant-… give to every token, and \
else nothing; see --sub, --subscribe and --publish";

const EXAMPLES: &str = "\
Examples:
  (umask 077; openssl rand -hex 32 > secret)
  tidings token --jwt-key-file secret --sub ann --subscribe 'users.{sub}.>' --ttl 10m
  tidings token --jwt-key-file secret --sub ann --claim role=admin --claim tenant=7
  tidings token --api-key billing --publish 'orders.>'

With --api-key it prints two lines: the key, which is not kept anywhere, and what the server is told of it.

Exit codes:
  0  printed on standard output
  1  there is no secret, or it can't be used; the reason is on standard error
  2  the command line is wrong";

/// See [`super::Command::Token`].
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Token {
    /// The secret that signs, of 32 bytes or more, as text or as `base64:…`. Better given as a variable or a file.
    #[arg(
        long,
        env = "TIDINGS_JWT_KEY",
        value_name = "SECRET",
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    jwt_key: Option<Secret>,

    /// A file with the secret; of several, as a server takes them, the first.
    #[arg(
        long,
        env = "TIDINGS_JWT_KEY_FILE",
        value_name = "FILE",
        value_delimiter = ',',
        conflicts_with = "jwt_key"
    )]
    jwt_key_file: Vec<PathBuf>,

    /// Makes an API key for the backend of this name, in the place of a token.
    #[arg(long, value_name = "NAME", value_parser = parse_name, conflicts_with_all = ["sub", "ttl", "claim"])]
    api_key: Option<String>,

    /// The subject: whose token it is.
    #[arg(long, value_name = "SUBJECT")]
    sub: Option<String>,

    /// What it may read, as a pattern, in which `{sub}` and `{claim:NAME}` may stand; several times or with commas.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    subscribe: Vec<Template>,

    /// What it may publish to, likewise.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    publish: Vec<Template>,

    /// What it may request, likewise.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    request: Vec<Template>,

    /// Opens the operators' pages to it.
    #[arg(long)]
    admin: bool,

    /// For how long it holds, from now on, as in 3600, 90s, 10m, 2h or 30d: a second to 100 years (36525d).
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    ttl: Duration,

    /// A further claim, several times; its value is JSON where it parses as such, else text.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_claim)]
    claim: Vec<(String, Value)>,

    /// The claim `iss`; of several, the first.
    #[arg(
        long,
        env = "TIDINGS_JWT_ISSUER",
        value_name = "ISSUER",
        value_delimiter = ',',
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    jwt_issuer: Vec<String>,

    /// The claim `aud`; of several, the first.
    #[arg(
        long,
        env = "TIDINGS_JWT_AUDIENCE",
        value_name = "AUDIENCE",
        value_delimiter = ',',
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    jwt_audience: Vec<String>,
}

fn parse_name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(':') || text.contains(char::is_control) {
        true => {
            Err("a name is not empty, and has neither a colon nor a control character".to_owned())
        }
        false => Ok(text.to_owned()),
    }
}

/// At least a second, in which `exp` is told.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    const WRONG: &str =
        "it is a time from 1s to 36525d (100 years), as in 3600, 90s, 10m, 2h or 30d";
    match super::verify::parse_time(text).map_err(|_| WRONG)? {
        time if time < Duration::from_secs(1) || time > MAX_TTL => Err(WRONG.to_owned()),
        time => Ok(time),
    }
}

fn parse_claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, as in role=admin")?;
    if OWN.contains(&name) {
        return Err(format!("`{name}` has an option of its own"));
    }
    let json = serde_json::from_str(value);
    Ok((name.to_owned(), json.unwrap_or_else(|_| value.into())))
}

/// On standard error: standard output is the token's alone.
#[allow(clippy::print_stderr)] // what a shell user sees
fn note(text: &str) {
    eprintln!("tidings: {text}");
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let lines = match &self.api_key {
            Some(name) => self.api_key_lines(name)?,
            None => {
                if self.is_of_nobody() {
                    note(NOBODY);
                }
                self.token(SystemTime::now())?
            }
        };
        writeln!(std::io::stdout(), "{lines}").context("it can't be written")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Whether a token says neither whose it is nor what it may do.
    fn is_of_nobody(&self) -> bool {
        self.sub.is_none() && self.claim.is_empty() && self.permissions().is_empty()
    }

    fn permissions(&self) -> Permissions {
        Permissions {
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            request: self.request.clone(),
            admin: self.admin,
        }
    }

    /// The key, and below it what the server is told.
    fn api_key_lines(&self, name: &str) -> anyhow::Result<String> {
        let permissions = self.permissions();
        ensure!(
            !permissions.is_empty(),
            "nothing is granted: say what the key is for with --subscribe, --publish, --request or --admin"
        );
        let (key, record) = ApiKey::generate(name, permissions)
            .context("the system has no random numbers to give")?;
        Ok(format!("{}\n{record}", key.expose()))
    }

    fn token(&self, now: SystemTime) -> anyhow::Result<String> {
        let secret = self.secret()?;
        let secret = key::secret(secret.expose()).context("the secret can't be used")?;
        let claims = self.claims(now.duration_since(UNIX_EPOCH)?.as_secs());
        let key = EncodingKey::from_secret(&secret);
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &key)?)
    }

    fn secret(&self) -> anyhow::Result<Secret> {
        match (&self.jwt_key, self.jwt_key_file.first()) {
            (Some(secret), _) => Ok(secret.clone()),
            (None, Some(path)) => Ok(Secret::read_once(path)?),
            (None, None) => bail!(
                "there is no secret to sign with: give --jwt-key-file or TIDINGS_JWT_KEY, or make a key with --api-key"
            ),
        }
    }

    fn claims(&self, now: u64) -> Value {
        let mut claims: Map<String, Value> = self.claim.iter().cloned().collect();
        let texts = [
            ("sub", self.sub.as_ref()),
            ("iss", self.jwt_issuer.first()),
            ("aud", self.jwt_audience.first()),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value.as_str().into());
            }
        }
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + self.ttl.as_secs()).into());
        if let Some(own) = self.own() {
            claims.insert("tidings".to_owned(), own);
        }
        claims.into()
    }

    /// The claim `tidings`, with what is granted.
    fn own(&self) -> Option<Value> {
        let texts = |templates: &[Template]| -> Option<Value> {
            let texts = templates.iter().map(Template::to_string);
            (!templates.is_empty()).then(|| json!(texts.collect::<Vec<_>>()))
        };
        let members = [
            ("subscribe", texts(&self.subscribe)),
            ("publish", texts(&self.publish)),
            ("request", texts(&self.request)),
            ("admin", self.admin.then_some(Value::Bool(true))),
        ];
        let given = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let own: Map<String, Value> = given.collect();
        (!own.is_empty()).then(|| own.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Access, Authenticator, Caller};
    use crate::config::AuthSettings;
    use clap::Parser;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        token: Token,
    }

    fn token(arguments: &[&str]) -> Token {
        let all = std::iter::once(&"x").chain(arguments);
        Command::try_parse_from(all).unwrap().token
    }

    async fn caller(settings: AuthSettings, shown: &str) -> Caller {
        let authenticator = Authenticator::new(&settings, &Access::Local).unwrap();
        authenticator.caller(Some(shown)).await.unwrap()
    }

    #[tokio::test]
    async fn a_token_is_taken_by_a_server_with_the_same_secret() {
        let made = token(&[
            "--jwt-key",
            SECRET,
            "--sub",
            "ann@x",
            "--subscribe",
            "users.{sub}.>,news",
            "--publish",
            "t.{claim:tenant}",
            "--claim",
            "tenant=7",
            "--jwt-audience",
            "us",
            "--ttl",
            "60",
        ]);
        let settings = AuthSettings {
            jwt_key: Some(Secret::from(SECRET.to_owned())),
            jwt_audience: vec!["us".to_owned()],
            ..AuthSettings::default()
        };
        let caller = caller(settings, &made.token(SystemTime::now()).unwrap()).await;
        assert_eq!(caller.subject(), Some("ann@x"));
        let grants = caller.grants();
        assert_eq!(
            grants.subscribe,
            ["users.ann%40x.>", "news"].map(|one| one.parse().unwrap())
        );
        assert_eq!(grants.publish, ["t.7".parse().unwrap()]);
        assert!(!grants.admin && grants.request.is_empty());
    }

    #[tokio::test]
    async fn an_api_key_and_its_record_fit() {
        let lines = token(&["--api-key", "billing", "--publish", "a.{sub}", "--admin"]);
        let lines = lines.api_key_lines("billing").unwrap();
        let (key, record) = lines.split_once('\n').unwrap();
        assert!(
            record.starts_with("billing:") && record.ends_with(":publish=a.{sub};admin"),
            "{record}"
        );
        let settings = AuthSettings {
            api_key: vec![Secret::from(record.to_owned())],
            ..AuthSettings::default()
        };
        let caller = caller(settings, key).await;
        assert_eq!(caller.publish(&"a.billing".parse().unwrap()), Ok(()));
    }

    #[test]
    fn claims_are_json_where_they_parse_and_own_ones_have_options() {
        let made = token(&[
            "--claim",
            "a=1",
            "--claim",
            "b=x=y",
            "--claim",
            r#"c=["d"]"#,
            "--ttl",
            "5",
        ]);
        let expected = json!({"a": 1, "b": "x=y", "c": ["d"], "iat": 100, "exp": 105});
        assert_eq!(made.claims(100), expected);
        for wrong in ["a", "exp=1", "sub=x", "tidings={}"] {
            assert!(parse_claim(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_without_the_secret() {
        for (arguments, expected) in [
            (vec!["--jwt-key", "hunter2"], "the secret can't be used"),
            (
                vec!["--jwt-key", "-----BEGIN PUBLIC KEY-----hunter2"],
                "the secret can't be used",
            ),
            (
                vec!["--jwt-key-file", "/nonexistent,/other"],
                "/nonexistent can't be read",
            ),
        ] {
            let made = token(&arguments);
            let error = format!("{:#}", made.token(SystemTime::now()).unwrap_err());
            assert!(
                error.contains(expected) && !error.contains("hunter2"),
                "{error}"
            );
            assert!(!format!("{made:?}").contains("hunter2"));
        }
        assert!(token(&["--api-key", "x"]).api_key_lines("x").is_err());
        for wrong in ["a:b", "", "a\n"] {
            assert!(parse_name(wrong).is_err());
        }
    }
}
