//! `teammy history`: what is stored of a meeting, printed as a replay prints it.

use std::{path::PathBuf, sync::Arc};

use teammy::{
    DataPacket, MeetingId, Name, Seq, Store, Timestamp,
    config::{Config, Database, database::Kind},
    graph, open_store,
    store::{PacketQuery, Take},
};
use tokio::{runtime::Runtime, time::Duration};

use super::{
    error::Error,
    output::{Output, is_shown},
};

/// How many packets are read at once.
const PAGE: usize = 256;

const EXAMPLES: &str = "\
Examples:
  teammy history standup                             all of it
  teammy history standup --source minutes --last 1   the minutes
  teammy history standup --since 10m --json          its last ten minutes";

/// Print what is stored of a meeting.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The meeting's id
    meeting: String,
    /// Only packets of this source (an instance's outputs have its name); may be given more than once, or as
    /// a,b. The meeting's own packets are shown for `--source meeting` alone
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    source: Vec<String>,
    /// Only the last N packets, of those that the other options leave
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    last: Option<usize>,
    /// Only packets from so long before the last one that came from outside: 90s, 10m, 1h 30m
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Where the meeting is kept, instead of database.url
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Print JSON lines, each with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "this takes a number from 1".to_owned())
}

pub(crate) fn run(args: &Args, config: &Config, output: &Output) -> Result<(), Error> {
    let id = MeetingId::new(&args.meeting).map_err(Error::MeetingId)?;
    let sources: Result<Vec<Name>, _> = args.source.iter().map(Name::new).collect();
    let sources = sources.map_err(Error::Source)?;
    check_kept(&config.database)?;
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        let store = open_store(&config.database).await?;
        let history = History { store: &*store, id, sources, output };
        let printed = history.print(args).await;
        let closed = store.close().await;
        printed?;
        Ok(closed?)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// A database that may hold something: opening another would make it, and to look for a meeting is no reason
/// to.
pub(super) fn check_kept(database: &Database) -> Result<(), Error> {
    let url = database.effective_url()?;
    if url.kind() == &Kind::Memory {
        return Err(Error::InMemory);
    }
    match url.directory().filter(|directory| !directory.exists()) {
        Some(directory) => Err(Error::NoDatabase(PathBuf::from(directory))),
        None => Ok(()),
    }
}

/// The error for a meeting that is not there, with those that are.
pub(super) async fn unknown(store: &dyn Store, id: &MeetingId) -> Result<Error, Error> {
    let others = store.meetings().await?;
    let meant = graph::closest(id.as_str(), others.iter().map(MeetingId::as_str));
    let meant = meant.and_then(|meant| others.iter().find(|id| id.as_str() == meant)).cloned();
    Ok(Error::NoMeeting { id: id.clone(), meant, others })
}

struct History<'a> {
    store: &'a dyn Store,
    id: MeetingId,
    /// Of all sources where none is given.
    sources: Vec<Name>,
    output: &'a Output,
}

/// Prints the stored packets of a query that are wanted, a page at a time, and says how many there were.
pub(super) async fn print_stored(
    store: &dyn Store,
    id: &MeetingId,
    mut query: PacketQuery,
    output: &Output,
    is_wanted: impl Fn(&DataPacket) -> bool,
) -> Result<usize, Error> {
    let mut shown = 0;
    loop {
        let page = store.packets(id.clone(), query.clone().take(Take::First(PAGE))).await?;
        for packet in page.iter().filter(|packet| is_wanted(packet)) {
            output.packet(packet)?;
            shown += 1;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => query.from = last.seq.next(),
            _ => return Ok(shown),
        }
    }
}

impl History<'_> {
    async fn print(&self, args: &Args) -> Result<(), Error> {
        if self.store.meeting(self.id.clone()).await?.is_none() {
            return Err(unknown(self.store, &self.id).await?);
        }
        let mut query = PacketQuery::default();
        if !self.sources.is_empty() {
            query = query.sources(self.sources.clone());
        }
        if let Some(since) = args.since {
            let not_before = self.before_last(since).await?;
            query.not_before = Some(not_before.ok_or_else(|| Error::NothingSince(self.id.clone()))?);
        }
        let is_wanted = |packet: &DataPacket| self.is_shown(packet);
        let shown = match args.last {
            Some(last) => self.print_last(query, last).await?,
            None => print_stored(self.store, &self.id, query, self.output, is_wanted).await?,
        };
        if shown == 0 {
            self.output.note("note: there are no such packets");
        }
        Ok(())
    }

    fn is_shown(&self, packet: &DataPacket) -> bool {
        !self.sources.is_empty() || is_shown(packet)
    }

    async fn print_last(&self, query: PacketQuery, last: usize) -> Result<usize, Error> {
        let packets = self.newest(query, last, |packet| self.is_shown(packet)).await?;
        for packet in packets.iter().rev() {
            self.output.packet(packet)?;
        }
        Ok(packets.len())
    }

    /// The newest packets that are wanted, newest first, read from the end of the log.
    async fn newest(
        &self,
        mut query: PacketQuery,
        most: usize,
        is_wanted: impl Fn(&DataPacket) -> bool,
    ) -> Result<Vec<Arc<DataPacket>>, Error> {
        let mut newest = Vec::new();
        while newest.len() < most {
            let page = self.store.packets(self.id.clone(), query.clone().take(Take::Last(PAGE))).await?;
            let first = page.first().map(|packet| packet.seq);
            let pages_end = page.len() < PAGE;
            let wanted = page.into_iter().rev().filter(|packet| is_wanted(packet));
            newest.extend(wanted.take(most - newest.len()));
            match first {
                Some(first) if !pages_end && first > Seq(1) => query.to = first.previous(),
                _ => break,
            }
        }
        Ok(newest)
    }

    /// So long before the last packet that came from outside. Outputs and a meeting's own packets carry times
    /// that depend on how fast a recording was played, so they don't count.
    async fn before_last(&self, since: Duration) -> Result<Option<Timestamp>, Error> {
        let is_from_outside = |packet: &DataPacket| {
            is_shown(packet) && packet.source != graph::PLUGIN_STATUS && packet.causes.is_empty()
        };
        let last = self.newest(PacketQuery::default(), 1, is_from_outside).await?;
        Ok(last.first().map(|last| last.timestamp.checked_sub(since).unwrap_or(Timestamp::MIN)))
    }
}

#[cfg(test)]
mod tests {
    use indicatif::MultiProgress;
    use teammy::{
        MeetingMetadata, Payload, Publish,
        store::{Commit, Epoch, MemoryStore},
    };

    use super::*;
    use crate::cli::output::Form;

    async fn stored(count: u64) -> (MemoryStore, MeetingId) {
        let (store, id) = (MemoryStore::default(), MeetingId::new("m").unwrap());
        store.create(MeetingMetadata::new(id.clone()), vec![], Seq(10_000)).await.unwrap();
        let mut commit = Commit::new(id.clone(), Epoch(1), 1, Seq(10_000));
        for seq in 1..=count {
            let source = if seq % 10 == 0 { "meeting" } else { "chat" };
            let at = Timestamp::from_second(i64::try_from(seq).unwrap()).unwrap();
            let publish = Publish::new(source, Payload::Json("1".into())).unwrap().timestamp(at);
            commit.packets.push(Arc::new(publish.into_packet(id.clone(), Seq(seq), at)));
        }
        store.commit(&[commit]).await.unwrap();
        (store, id)
    }

    #[tokio::test]
    async fn the_newest_are_found_page_by_page() {
        let (store, id) = stored(1000).await;
        let output = Output::new(Form::Json, MultiProgress::new());
        let history = History { store: &store, id, sources: Vec::new(), output: &output };
        for most in [0, 1, 5, 300, 899, 900, usize::MAX] {
            let found = history.newest(PacketQuery::default(), most, is_shown).await.unwrap();
            let all = (1..=1000).rev().filter(|seq| seq % 10 != 0).take(most);
            assert!(found.iter().map(|packet| packet.seq.0).eq(all), "{most}");
        }
    }

    #[tokio::test]
    async fn since_counts_back_from_what_came_from_outside() {
        let (store, id) = stored(1000).await;
        let output = Output::new(Form::Json, MultiProgress::new());
        let history = History { store: &store, id, sources: Vec::new(), output: &output };
        let at = |since| history.before_last(since);
        assert_eq!(at(Duration::from_secs(9)).await.unwrap(), Some(Timestamp::from_second(990).unwrap()));
        assert_eq!(at(Duration::MAX).await.unwrap(), Some(Timestamp::MIN));
    }
}
