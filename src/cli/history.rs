//! `teammy history`: prints the stored packets of a meeting, as a replay prints them.

use std::{path::PathBuf, sync::Arc};

use teammy::{
    DataPacket, MeetingId, Name, Seq, Store, Timestamp,
    config::{Config, Database, database::Kind},
    graph, open_store,
    store::{MeetingQuery, PacketQuery},
};
use tokio::{runtime::Runtime, sync::Mutex, time::Duration};

use super::{
    client,
    error::Error,
    output::{Output, is_shown},
    packets::{From, PacketReader},
};

const EXAMPLES: &str = "\
Examples:
  teammy history standup                             all of it
  teammy history standup --source minutes --last 1   the minutes
  teammy history standup --since 10m --json          its last ten minutes

While a node on this machine holds the database, the command asks that node.";

/// Print the stored packets of a meeting
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The meeting's id
    meeting: String,
    /// Only packets of this source (an instance's outputs have its name); may be given more than once, or as
    /// a,b. The meeting's lifecycle packets are shown with `--source meeting` only
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    source: Vec<String>,
    /// Only the last N of the packets that the other options select
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    last: Option<usize>,
    /// Only packets of the time before the last published one: 90s, 10m, 1h 30m
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
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a number from 1".to_owned())
}

pub(crate) fn run(args: &Args, config: &Config, output: &Output) -> Result<(), Error> {
    let id = MeetingId::new(&args.meeting).map_err(Error::MeetingId)?;
    let sources: Result<Vec<Name>, _> = args.source.iter().map(Name::new).collect();
    let sources = sources.map_err(Error::Source)?;
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        if let Some(client) = client::holder(config).await? {
            let reader = PacketReader::Node(Mutex::new(client));
            return History { reader, id, sources, output }.print(args).await;
        }
        check_kept(&config.database)?;
        let store = open_store(&config.database).await?;
        if store.meeting(id.clone()).await?.is_none() {
            let unknown = unknown(&*store, &id).await;
            let _ = store.close().await;
            return Err(unknown?);
        }
        let reader = PacketReader::Store(&*store);
        let printed = History { reader, id, sources, output }.print(args).await;
        let closed = store.close().await;
        printed?;
        Ok(closed?)
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Checks that the configured database can hold meetings. Opening a directory that does not exist would create
/// it.
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

/// The error for a meeting that does not exist. It names the meetings that do.
pub(super) async fn unknown(store: &dyn Store, id: &MeetingId) -> Result<Error, Error> {
    let others = all_ids(store).await?;
    let meant = graph::closest(id.as_str(), others.iter().map(MeetingId::as_str));
    let meant = meant.and_then(|meant| others.iter().find(|id| id.as_str() == meant)).cloned();
    Ok(Error::NoMeeting { id: id.clone(), meant, others })
}

/// The ids of all meetings, sorted.
async fn all_ids(store: &dyn Store) -> Result<Vec<MeetingId>, Error> {
    let mut query = MeetingQuery::default().limit(MeetingQuery::MAX_LIMIT);
    let mut ids = Vec::new();
    loop {
        let page = store.meetings(query.clone()).await?;
        ids.extend(page.meetings.into_iter().map(|row| row.metadata.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

struct History<'a> {
    reader: PacketReader<'a>,
    id: MeetingId,
    /// The sources to print; all if it is empty.
    sources: Vec<Name>,
    output: &'a Output,
}

/// Prints the stored packets that match a query and that `is_wanted` accepts, page by page. Returns how many.
pub(super) async fn print_stored(
    reader: &PacketReader<'_>,
    id: &MeetingId,
    mut query: PacketQuery,
    output: &Output,
    is_wanted: impl Fn(&DataPacket) -> bool,
) -> Result<usize, Error> {
    let mut shown = 0;
    loop {
        let page = reader.page(id, query.clone(), From::Oldest).await?;
        for packet in page.packets.iter().filter(|packet| is_wanted(packet)) {
            output.packet(packet)?;
            shown += 1;
        }
        match page.packets.last() {
            Some(last) if !page.is_last => query.from = last.seq.next(),
            _ => return Ok(shown),
        }
    }
}

impl History<'_> {
    async fn print(&self, args: &Args) -> Result<(), Error> {
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
            None => print_stored(&self.reader, &self.id, query, self.output, is_wanted).await?,
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

    /// The newest packets that `is_wanted` accepts, newest first.
    async fn newest(
        &self,
        mut query: PacketQuery,
        most: usize,
        is_wanted: impl Fn(&DataPacket) -> bool,
    ) -> Result<Vec<Arc<DataPacket>>, Error> {
        let mut newest = Vec::new();
        while newest.len() < most {
            let page = self.reader.page(&self.id, query.clone(), From::Newest).await?;
            let first = page.packets.first().map(|packet| packet.seq);
            let wanted = page.packets.into_iter().rev().filter(|packet| is_wanted(packet));
            newest.extend(wanted.take(most - newest.len()));
            match first {
                Some(first) if !page.is_last && first > Seq(1) => query.to = first.previous(),
                _ => break,
            }
        }
        Ok(newest)
    }

    /// The timestamp of the last published packet minus `since`. Outputs and runtime packets do not count: their
    /// timestamps depend on how fast a recording was played.
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
        MeetingMetadata, Publish,
        store::{Commit, Epoch, MemoryStore},
    };

    use super::*;
    use crate::cli::output::Form;

    async fn stored(count: u64) -> (MemoryStore, MeetingId) {
        let (store, id) = (MemoryStore::default(), MeetingId::new("m").unwrap());
        store
            .create(MeetingMetadata::new(id.clone()), vec![], Seq(10_000), Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
        let mut commit = Commit::new(id.clone(), Epoch(1), 1, Seq(10_000));
        for seq in 1..=count {
            let source = if seq % 10 == 0 { "meeting" } else { "chat" };
            let at = Timestamp::from_second(i64::try_from(seq).unwrap()).unwrap();
            let publish = Publish::json_text(source, "1").unwrap().timestamp(at);
            commit.packets.push(Arc::new(publish.into_packet(id.clone(), Seq(seq), at)));
        }
        store.commit(&[commit]).await.unwrap();
        (store, id)
    }

    #[tokio::test]
    async fn the_newest_are_found_page_by_page() {
        let (store, id) = stored(1000).await;
        let output = Output::new(Form::Json, MultiProgress::new());
        let history =
            History { reader: PacketReader::Store(&store), id, sources: Vec::new(), output: &output };
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
        let history =
            History { reader: PacketReader::Store(&store), id, sources: Vec::new(), output: &output };
        let at = |since| history.before_last(since);
        assert_eq!(at(Duration::from_secs(9)).await.unwrap(), Some(Timestamp::from_second(990).unwrap()));
        assert_eq!(at(Duration::MAX).await.unwrap(), Some(Timestamp::MIN));
    }
}
