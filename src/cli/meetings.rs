//! `teammy meetings`: lists the meetings in the database, the newest first.

use std::fmt::Write as _;

use teammy::{
    Store, Timestamp,
    admin::{MeetingList, MeetingSummary, Request, Response},
    config::Config,
    control::Client,
    open_store,
    store::{MeetingQuery, MeetingStatus},
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
  teammy meetings                                  all of them, the newest first
  teammy meetings --status running,ending          those that have not ended
  teammy meetings --label team=maps --since 7d     a team's, of the last week
  teammy meetings --limit 20 --json                the last twenty, for a program

`last seq` is the seq of the last stored packet. It is above the number of packets if the meeting was resumed.";

/// List the meetings in the database, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only meetings of this status: running, ending or ended; may be given more than once, or as a,b. A meeting
    /// that is cut off stays running or ending until it is resumed
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<MeetingStatus>,
    /// Only meetings with this label; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Only meetings that were created at this time or later: a time before now (90s, 12h, 7d), a date, or a time
    /// as in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only the newest N of the meetings that the other options select
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Where the meetings are kept, instead of database.url
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Print JSON lines, each with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

fn status(text: &str) -> Result<MeetingStatus, String> {
    let word = serde_json::Value::String(text.to_owned());
    serde_json::from_value(word).map_err(|_| "expected running, ending or ended".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    since_at(text, Timestamp::now())
}

fn since_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(before) = humantime::parse_duration(text) {
        return Ok(now.checked_sub(before).unwrap_or(Timestamp::MIN));
    }
    // A date begins at midnight UTC.
    let at = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
    at.map_err(|_| {
        "expected a time before now (12h, 7d), a date (2026-01-05) or a time (2026-01-05T09:00:00Z)"
            .to_owned()
    })
}

pub(crate) fn run(args: &Args, config: &Config, output: &Output) -> Result<(), Error> {
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        if let Some(client) = client::holder(config).await? {
            return print(&mut MeetingReader::Node(client), args, output).await;
        }
        check_kept(&config.database)?;
        let store = open_store(&config.database).await?;
        let printed = print(&mut MeetingReader::Store(&*store), args, output).await;
        let closed = store.close().await;
        printed?;
        Ok(closed?)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Where meetings are listed.
enum MeetingReader<'a> {
    Store(&'a dyn Store),
    /// The node that holds the database.
    Node(Client),
}

impl MeetingReader<'_> {
    async fn page(&mut self, query: MeetingQuery) -> Result<MeetingList, Error> {
        match self {
            Self::Store(store) => Ok(store.meetings(query).await?.into()),
            Self::Node(client) => match client.request(Request::Meetings { query }).await? {
                Response::Meetings(list) => Ok(list),
                _ => Err(client.unexpected().into()),
            },
        }
    }
}

fn query(args: &Args) -> MeetingQuery {
    let mut query = MeetingQuery::default();
    if !args.status.is_empty() {
        query = query.statuses(args.status.iter().copied());
    }
    for (key, value) in &args.label {
        query = query.label(key, value);
    }
    query.from = args.since;
    query
}

#[derive(serde::Serialize)]
struct MeetingLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    meeting: &'a MeetingSummary,
}

/// Prints the meetings page by page; for people as one table, whose columns need all of them.
async fn print(reader: &mut MeetingReader<'_>, args: &Args, output: &Output) -> Result<(), Error> {
    let mut left = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut query = query(args);
    let mut table = table(["meeting", "status", "created", "last seq", "title", "labels"]);
    while left > 0 {
        query.limit = left.min(MeetingList::MAX_MEETINGS);
        let page = reader.page(query.clone()).await?;
        left = left.saturating_sub(page.meetings.len());
        for meeting in &page.meetings {
            match output.form() {
                Form::Json => output.object(&MeetingLine { r#type: "meeting", meeting })?,
                Form::Text => drop(table.add_row(readable(meeting))),
            }
        }
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    match output.form() {
        Form::Json => Ok(()),
        Form::Text if table.is_empty() => {
            output.note("note: there are no such meetings");
            Ok(())
        }
        Form::Text => output.text(&table.to_string()),
    }
}

fn readable(meeting: &MeetingSummary) -> [String; 6] {
    let status = match meeting.status {
        MeetingStatus::Running => "running",
        MeetingStatus::Ending => "ending",
        MeetingStatus::Ended => "ended",
        _ => "unknown",
    };
    let created = meeting.created.map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let mut labels = String::new();
    for (key, value) in &meeting.labels {
        let comma = if labels.is_empty() { "" } else { ", " };
        let _ = write!(labels, "{comma}{key}={value}");
    }
    [
        meeting.id.to_string(),
        status.to_owned(),
        created.unwrap_or_else(|| "unknown".to_owned()),
        meeting.last_seq.to_string(),
        meeting.title.as_deref().unwrap_or_default().to_owned(),
        labels,
    ]
    // A title may hold line ends, and a row is one line.
    .map(|cell| cell.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_before_now_a_date_or_a_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-03-10T12:00:00Z");
        let cases = [
            ("90s", Some("2026-03-10T11:58:30Z")),
            ("1day 2h", Some("2026-03-09T10:00:00Z")),
            ("7d", Some("2026-03-03T12:00:00Z")),
            ("2026-01-05", Some("2026-01-05T00:00:00Z")),
            ("2026-01-05T09:00:00.5+01:00", Some("2026-01-05T08:00:00.5Z")),
            ("yesterday", None),
            ("2026-13-05", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(since_at(text, now).ok(), expected.map(at), "{text}");
        }
        assert_eq!(since_at("30000y", now), Ok(Timestamp::MIN));
    }

    #[test]
    fn a_label_is_split_at_its_first_equals_sign() {
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(label("=").unwrap(), (String::new(), String::new()));
        assert!(label("team").is_err());
    }
}
