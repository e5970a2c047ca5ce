//! `teammy usage`: shows what requests to language models have cost.

use std::collections::BTreeMap;

use teammy::{
    Charges, MeetingId, NanoUsd, Store, Timestamp,
    admin::{self, Request, Response, UsageRow},
    config::Config,
    control::Client,
    open_store,
};
use tokio::{runtime::Runtime, time::Duration};

use super::{
    client,
    error::Error,
    history::check_kept,
    meetings::since,
    output::{Form, Output, table},
};

const EXAMPLES: &str = "\
Examples:
  teammy usage                        what all meetings have cost, by instance and model
  teammy usage standup --by hour      what one has cost, hour by hour
  teammy usage --since 7d --json      the last week, for a program

Money is counted by `price` of each [[llm.model]], tokens as the servers report them. `waited` is the time before requests \
had their turn, `took` the time that servers took, each for all requests together.";

/// Show what requests to language models have cost: calls, tokens, money, retries, fallbacks, failures, waiting
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only this meeting
    meeting: Option<MeetingId>,
    /// Add up by instance, model or hour; without it by instance and model
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Only what was asked in the hour of this time or later: a time before now (90s, 12h, 7d), a date, or a time as in
    /// RFC 3339
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Where the meetings are kept, instead of database.url
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Print JSON lines, each with a "type": one for each instance, hour and model, unless --by is given
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Instance,
    Model,
    Hour,
}

/// What a line is about; what is not given is added up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
struct Group {
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

impl Group {
    fn of(row: &UsageRow, by: Option<By>, has_hour: bool) -> Self {
        let is = |of: By| by.is_none_or(|by| by == of);
        Self {
            hour: (by == Some(By::Hour) || has_hour).then_some(row.hour),
            instance: is(By::Instance).then(|| row.instance.to_string()),
            model: is(By::Model).then(|| row.model.clone()),
        }
    }
}

#[derive(serde::Serialize)]
struct UsageLine<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    meeting: Option<&'a MeetingId>,
    #[serde(flatten)]
    group: &'a Group,
    #[serde(flatten)]
    charges: &'a Charges,
}

pub(crate) fn run(args: &Args, config: &Config, output: &Output) -> Result<(), Error> {
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        if let Some(mut client) = client::holder(config).await? {
            return print(&of_node(&mut client, args).await?, args, output);
        }
        check_kept(&config.database)?;
        let store = open_store(&config.database).await?;
        let read = of_store(&*store, args).await;
        let closed = store.close().await;
        print(&read?, args, output)?;
        Ok(closed?)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn of_store(store: &dyn Store, args: &Args) -> Result<Vec<UsageRow>, Error> {
    if let Some(meeting) = &args.meeting
        && store.meeting(meeting.clone()).await?.is_none()
    {
        return Err(Error::NoSuchMeeting(meeting.clone()));
    }
    Ok(admin::usage(store, args.meeting.as_ref(), args.since).await?)
}

async fn of_node(client: &mut Client, args: &Args) -> Result<Vec<UsageRow>, Error> {
    let request = Request::Usage { meeting: args.meeting.clone(), since: args.since };
    let answered = match &args.meeting {
        Some(meeting) => client::ask(client, meeting, request).await?,
        None => client.request(request).await?,
    };
    match answered {
        Response::Usage { rows } => Ok(rows),
        _ => Err(client.unexpected().into()),
    }
}

fn print(rows: &[UsageRow], args: &Args, output: &Output) -> Result<(), Error> {
    let has_hour = output.form() == Form::Json && args.by.is_none();
    let mut groups: BTreeMap<Group, Charges> = BTreeMap::new();
    let mut all = Charges::default();
    for row in rows {
        *groups.entry(Group::of(row, args.by, has_hour)).or_default() += row.charges;
        all += row.charges;
    }
    if output.form() == Form::Json {
        for (group, charges) in &groups {
            output.object(&UsageLine { r#type: "usage", meeting: args.meeting.as_ref(), group, charges })?;
        }
        return Ok(());
    }
    if groups.is_empty() {
        output.note("note: no language model was asked");
        return Ok(());
    }
    output.text(&readable(&groups, args.by, all))
}

fn readable(groups: &BTreeMap<Group, Charges>, by: Option<By>, all: Charges) -> String {
    let names: &[&str] = match by {
        None => &["instance", "model"],
        Some(By::Instance) => &["instance"],
        Some(By::Model) => &["model"],
        Some(By::Hour) => &["hour"],
    };
    let figures = [
        "calls",
        "failed",
        "retries",
        "fallbacks",
        "tokens in",
        "cached",
        "tokens out",
        "thoughts",
        "cost",
        "waited",
        "took",
    ];
    let mut table = table(names.iter().chain(&figures).copied());
    for (group, charges) in groups {
        let hour = group.hour.map(|hour| hour.strftime("%Y-%m-%d %H:%M").to_string());
        let of = [hour, group.instance.clone(), group.model.clone()].into_iter().flatten();
        table.add_row(of.chain(cells(charges)).collect::<Vec<_>>());
    }
    if groups.len() > 1 {
        let of = std::iter::once("all").chain(std::iter::repeat_n("", names.len() - 1)).map(str::to_owned);
        table.add_row(of.chain(cells(&all)).collect::<Vec<_>>());
    }
    table.to_string()
}

fn cells(charges: &Charges) -> impl Iterator<Item = String> + use<> {
    let Charges { calls, failures, retries, fallbacks, usage, cost, waited_ms, took_ms, .. } = *charges;
    let counts =
        [calls, failures, retries, fallbacks, usage.prompt, usage.cached, usage.completion, usage.reasoning];
    let times = [waited_ms, took_ms].map(|ms| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100));
    counts.map(|count| count.to_string()).into_iter().chain([money(cost)]).chain(times)
}

/// Dollars to a hundredth of a cent; less than that is shown as it is.
fn money(cost: NanoUsd) -> String {
    const STEP: u64 = 100_000;
    let rounded = cost.0.saturating_add(STEP / 2) / STEP * STEP;
    if rounded == 0 { cost.to_string() } else { NanoUsd(rounded).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_rounded_to_a_hundredth_of_a_cent() {
        for (nanos, shown) in [
            (0, "$0.00"),
            (12, "$0.000000012"),
            (149_999, "$0.0001"),
            (150_000, "$0.0002"),
            (2_500_000_000, "$2.50"),
        ] {
            assert_eq!(money(NanoUsd(nanos)), shown);
        }
    }
}
