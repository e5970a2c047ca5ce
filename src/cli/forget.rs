//! `teammy forget`: deletes all that is stored of a meeting.

use teammy::{MeetingId, admin::Request, config::Config, open_store};
use tokio::{runtime::Runtime, time::Duration};

use super::{
    client,
    error::Error,
    history,
    output::{Form, Output},
};

const EXAMPLES: &str = "\
Examples:
  teammy forget standup

This deletes the meeting's packets, its plugins' states and keys, its dead letters and its own row, at once. A meeting that runs \
stops. Not deleted are copies of the database, what plugins have sent elsewhere, and the bytes in the database's files until the \
database rewrites them: an embedded database rewrites new data when it is closed, and older data as it compacts.";

/// Forget a meeting: delete all that is stored of it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The meeting's id
    meeting: String,
    /// Where the meeting is kept, instead of database.url
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Print a JSON line, with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(serde::Serialize)]
struct ForgottenLine<'a> {
    r#type: &'static str,
    meeting: &'a MeetingId,
}

pub(crate) fn run(args: &Args, config: &Config, output: &Output) -> Result<(), Error> {
    let id = MeetingId::new(&args.meeting).map_err(Error::MeetingId)?;
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        if let Some(mut client) = client::holder(config).await? {
            let request = Request::Forget { meeting: id.clone() };
            return client::ask(&mut client, &id, request).await.map(drop);
        }
        history::check_kept(&config.database)?;
        let store = open_store(&config.database).await?;
        let forgotten = match store.forget(id.clone()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(history::unknown(&*store, &id).await?),
            Err(error) => Err(error.into()),
        };
        let closed = store.close().await;
        forgotten?;
        Ok(closed?)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done?;
    match output.form() {
        Form::Json => output.object(&ForgottenLine { r#type: "forgotten", meeting: &id }),
        Form::Text => {
            output.note(&format!("meeting {id} is forgotten"));
            Ok(())
        }
    }
}
