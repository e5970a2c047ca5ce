//! `teammy key`: makes, shows, rotates and revokes the keys of the network API.

use serde_json::json;
use teammy::{
    Name, Timestamp,
    admin::{Request, Response},
    config::Config,
    control::Client,
    keys::{KeyId, KeyInfo, Keys, NewKey, PrintedKey, Scope},
    open_store,
};
use tokio::{runtime::Runtime, time::Duration};

use super::{
    client,
    error::Error,
    history::check_kept,
    output::{Form, Output, table},
};

const EXAMPLES: &str = "\
Examples:
  teammy key create --tenant acme --scope publish,read     a key for a backend; it is shown once
  teammy key list                                          all keys, without their secrets
  teammy key rotate 0123456789abcdef --overlap 1d          another key; the old one holds for another day
  teammy key revoke 0123456789abcdef                       refuse it, within a second, on every node

Scopes: publish (open meetings, publish, end them), read (list and read, make tokens for browsers), admin (who takes part, \
dead letters, forget, usage), node (status and metrics of the whole node). Once there is a key, each request to the network API \
needs one.";

/// Make, show, rotate and revoke the keys of the network API
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// Where the keys are kept, instead of database.url
    #[arg(long, value_name = "URL", global = true)]
    pub(super) db: Option<String>,
    /// Print JSON lines, each with a "type"
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a key, and print it; it is never shown again
    Create {
        /// Whose key it is: its requests see this tenant's meetings alone
        #[arg(long, value_name = "TENANT")]
        tenant: Name,
        /// What it allows: publish, read, admin, node; may be given more than once, or as a,b
        #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
        scope: Vec<Scope>,
        /// How long it holds, such as 90d; for ever without it
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// Show all keys, without their secrets
    List,
    /// Make another key that allows the same, and have the old one expire
    Rotate {
        /// The old key's id
        id: KeyId,
        /// How long the old one still holds
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1day")]
        overlap: Duration,
    },
    /// Refuse a key from now on
    Revoke {
        /// The key's id
        id: KeyId,
    },
}

pub(crate) fn run(args: &Args, config: &Config, output: &Output) -> Result<(), Error> {
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        if let Some(mut client) = client::holder(config).await? {
            return of_node(&mut client, &args.verb, output).await;
        }
        // The first key is made before the first start.
        match check_kept(&config.database) {
            Err(Error::NoDatabase(_)) if matches!(args.verb, Verb::Create { .. }) => {}
            kept => kept?,
        }
        let store = open_store(&config.database).await?;
        let keys = Keys::new(store.clone(), config.service.pepper());
        let done = of_store(&keys, &args.verb, output).await;
        let closed = store.close().await;
        done?;
        Ok(closed?)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

fn new_key(tenant: &Name, scopes: &[Scope], expires_in: Option<Duration>) -> NewKey {
    let new = NewKey::new(tenant.clone(), scopes.iter().copied());
    match expires_in {
        Some(time) => new.expires(Timestamp::now().checked_add(time).unwrap_or(Timestamp::MAX)),
        None => new,
    }
}

async fn of_node(client: &mut Client, verb: &Verb, output: &Output) -> Result<(), Error> {
    let request = match verb {
        Verb::Create { tenant, scope, expires_in } => Request::CreateKey(new_key(tenant, scope, *expires_in)),
        Verb::List => Request::Keys,
        Verb::Rotate { id, overlap } => Request::RotateKey { id: id.clone(), overlap: overlap.as_secs() },
        Verb::Revoke { id } => Request::RevokeKey { id: id.clone() },
    };
    match client.request(request).await? {
        Response::Key { secret, key } => print_secret(&secret, &key, output),
        Response::Keys { keys } => print_all(&keys, output),
        _ => Ok(()),
    }?;
    if let Verb::Revoke { id } = verb { print_revoked(id, output) } else { Ok(()) }
}

async fn of_store(keys: &Keys, verb: &Verb, output: &Output) -> Result<(), Error> {
    match verb {
        Verb::Create { tenant, scope, expires_in } => {
            let (secret, key) = keys.create(new_key(tenant, scope, *expires_in)).await?;
            print_secret(&secret, &key, output)
        }
        Verb::List => print_all(&keys.list().await?, output),
        Verb::Rotate { id, overlap } => {
            let (secret, key) = keys.rotate(id, *overlap).await?;
            print_secret(&secret, &key, output)
        }
        Verb::Revoke { id } => {
            keys.revoke(id).await?;
            print_revoked(id, output)
        }
    }
}

fn print_secret(secret: &PrintedKey, key: &KeyInfo, output: &Output) -> Result<(), Error> {
    match output.form() {
        Form::Json => output.object(&json!({"type": "key", "secret": secret, "key": key})),
        Form::Text => {
            output.note(&format!(
                "key {} of tenant {} for {}; it is not shown again",
                key.id, key.tenant, key.scopes
            ));
            output.text(secret.reveal())
        }
    }
}

fn print_revoked(id: &KeyId, output: &Output) -> Result<(), Error> {
    match output.form() {
        Form::Json => output.object(&json!({"type": "revoked", "id": id})),
        Form::Text => {
            output.note(&format!("key {id} is revoked"));
            Ok(())
        }
    }
}

fn print_all(keys: &[KeyInfo], output: &Output) -> Result<(), Error> {
    if output.form() == Form::Json {
        return keys.iter().try_for_each(|key| output.object(&json!({"type": "key", "key": key})));
    }
    if keys.is_empty() {
        output
            .note("there is no key: without one the network API asks for none, and answers on loopback only");
        return Ok(());
    }
    let now = Timestamp::now();
    let mut rows = table(["id", "tenant", "scopes", "created", "status"]);
    for key in keys {
        let status = match (key.revoked, key.ends()) {
            (Some(at), _) => format!("revoked {at:.0}"),
            (None, Some(at)) if at <= now => format!("expired {at:.0}"),
            (None, Some(at)) => format!("until {at:.0}"),
            (None, None) => "valid".to_owned(),
        };
        rows.add_row([
            key.id.to_string(),
            key.tenant.to_string(),
            key.scopes.to_string(),
            format!("{:.0}", key.created),
            status,
        ]);
    }
    output.text(&rows.to_string())
}
