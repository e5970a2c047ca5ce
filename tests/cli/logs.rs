//! What an embedder's log shows, with a subscriber of its own.

use std::{
    fmt::{self, Write as _},
    sync::mpsc::{self, Sender},
    time::Duration,
};

use teammy::{MeetingId, MeetingMetadata, Node, config::Config, logs};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

/// An event's fields, and whether it is a false alarm.
type Logged = (String, bool);

/// Collects all events.
struct Collector(Sender<Logged>);

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let _ = self.0.send((fields.0, logs::is_false_alarm(event)));
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

/// The only test of this program that installs a subscriber: there is one for a process.
#[test]
fn a_node_that_closes_its_database_alarms_nobody() {
    let (events, logged) = mpsc::channel();
    tracing_subscriber::registry().with(Collector(events).with_filter(LevelFilter::WARN)).init();
    let place = tempfile::tempdir().unwrap();
    let toml = format!("database.url = \"surrealkv://{}\"", place.path().join("db").display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for id in ["a", "b"] {
            let builder = Node::builder(Config::from_toml(&toml).unwrap()).plugins(teammy::plugins::bundle());
            let node = builder.start().await.unwrap();
            let metadata = MeetingMetadata::new(MeetingId::new(id).unwrap());
            node.start_meeting(metadata, ["talk-time"]).await.unwrap().end().await.unwrap();
            node.shutdown(Duration::from_mins(10)).await.unwrap();
            // A thread of the engine logs it, now or a little later, and sometimes two do. Without it, the filter is not needed
            // any more.
            let first = logged.recv_timeout(Duration::from_mins(1));
            let first = first.expect("the engine does not warn any more when it is closed");
            let alarms: Vec<_> =
                [first].into_iter().chain(logged.try_iter()).filter(|(_, is_false)| !is_false).collect();
            assert!(alarms.is_empty(), "{alarms:?}");
        }
    });
}
