use std::sync::Mutex;

use futures::{FutureExt, executor::block_on, future::BoxFuture};
use proptest::prelude::*;

use super::*;
use crate::{
    DataPacket, EngineControl, History, MeetingId, Name, PersistenceProvider, ReadError, Seq, SharedLlm,
};

/// A store of keys alone.
#[derive(Clone, Default)]
struct Keys(Arc<Mutex<BTreeMap<String, Arc<str>>>>);

impl PersistenceProvider for Keys {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Arc<str>>, ReadError>> {
        async { Ok(self.0.lock().unwrap().get(key).cloned()) }.boxed()
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<(String, Arc<str>)>, ReadError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn history(&self, _: History, _: Seq) -> BoxFuture<'_, Result<Vec<Arc<DataPacket>>, ReadError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// An instance without a plugin.
struct Instance {
    keys: Keys,
    engine: EngineControl,
}

impl Instance {
    fn new() -> Self {
        let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
        let keys = Keys::default();
        let provider = Arc::new(keys.clone());
        Self { engine: EngineControl::new(SharedLlm::none(), provider, meeting, instance, None), keys }
    }

    fn datastore(&self) -> &Datastore {
        self.engine.engine().datastore()
    }

    /// Ends a hook: what it wrote is stored. Returns the number of writes.
    fn commit(&self) -> usize {
        let writes = self.engine.take_writes();
        let count = writes.len();
        let mut keys = self.keys.0.lock().unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => keys.insert(key, value),
                None => keys.remove(&key),
            };
        }
        count
    }
}

fn name(number: usize) -> Arc<str> {
    format!("P{number}").into()
}

#[test]
fn few_names_need_no_key_and_many_have_one_each() {
    let instance = Instance::new();
    let datastore = instance.datastore();
    let mut names = FormerNames::default();
    let rename = |names: &mut FormerNames, number: usize| {
        block_on(names.rename(&name(number), &name(1_000 + number), datastore)).unwrap();
    };
    for number in 0..FormerNames::MAX_HELD {
        rename(&mut names, number);
    }
    assert_eq!(instance.commit(), 0);
    let mut largest = 0;
    let mut writes = 0;
    for number in FormerNames::MAX_HELD..500 {
        rename(&mut names, number);
        largest = largest.max(serde_json::to_string(&names).unwrap().len());
        writes += instance.commit();
    }
    assert!((1..1_000).contains(&writes), "{writes}");
    assert!(largest < 500, "{largest}");
    for number in 0..500 {
        assert_eq!(block_on(names.present(name(number), datastore)).unwrap(), name(1_000 + number));
        let bytes = serde_json::to_string(&names).unwrap().len();
        assert!(bytes < 1_000, "{bytes}");
    }
    assert_eq!(block_on(names.present("somebody".into(), datastore)).unwrap(), "somebody".into());
}

#[test]
fn of_one_participant_the_newest_are_kept() {
    let instance = Instance::new();
    let datastore = instance.datastore();
    let mut names = FormerNames::default();
    for number in 0..100 {
        block_on(names.rename(&name(number), &name(number + 1), datastore)).unwrap();
    }
    assert_eq!(block_on(names.present(name(99), datastore)).unwrap(), name(100));
    assert_eq!(block_on(names.present(name(70), datastore)).unwrap(), name(100));
    assert_eq!(block_on(names.present(name(0), datastore)).unwrap(), name(0));
    let known = (0..100).filter(|number| {
        let now = block_on(names.present(name(*number), datastore)).unwrap();
        now == name(100)
    });
    let known = known.count();
    assert!((FormerNames::MAX_OF_ONE..=FormerNames::MAX_OF_ONE + FormerNames::MAX_HELD).contains(&known));
}

#[test]
fn names_that_no_key_can_hold_are_left_out() {
    let instance = Instance::new();
    let datastore = instance.datastore();
    let mut names = FormerNames::default();
    let long: Arc<str> = "x".repeat(600).into();
    block_on(names.rename(&long, &name(0), datastore)).unwrap();
    assert_eq!(block_on(names.present(long.clone(), datastore)).unwrap(), name(0));
    for number in 1..100 {
        block_on(names.rename(&name(number), &long, datastore)).unwrap();
    }
    assert_eq!(block_on(names.present(long.clone(), datastore)).unwrap(), long);
}

#[test]
fn a_large_map_from_elsewhere_is_moved_in_parts() {
    let instance = Instance::new();
    let datastore = instance.datastore();
    let map: BTreeMap<_, _> = (0..1_000).map(|number| (name(number), name(1_000 + number))).collect();
    let mut names = FormerNames::from(map);
    for _ in 0..2 {
        instance.commit();
        block_on(names.make_room(datastore)).unwrap();
    }
    assert!(names.recent.is_empty());
}

/// What happens to names.
#[derive(Debug, Clone)]
enum Event {
    Renamed(usize, usize),
    Joined(usize),
    Asked(usize),
}

const NAMES: usize = FormerNames::MAX_OF_ONE + 1;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0..NAMES, 0..NAMES).prop_map(|(from, to)| Event::Renamed(from, to)),
        1 => (0..NAMES).prop_map(Event::Joined),
        3 => (0..NAMES).prop_map(Event::Asked),
    ];
    prop::collection::vec(event, 0..300)
}

proptest! {
    /// All that a map of all former names would say.
    #[test]
    fn it_is_as_if_one_map_held_them_all(events in events()) {
        let instance = Instance::new();
        let datastore = instance.datastore();
        let mut names = FormerNames::default();
        let mut map: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for event in events {
            match event {
                Event::Renamed(from, to) => {
                    let (from, to) = (name(from), name(to));
                    block_on(names.rename(&from, &to, datastore)).unwrap();
                    if from != to {
                        map.remove(&to);
                        map.values_mut().filter(|now| **now == from).for_each(|now| now.clone_from(&to));
                        map.insert(from, to);
                    }
                }
                Event::Joined(number) => {
                    let was = block_on(names.forget(&name(number), datastore)).unwrap();
                    prop_assert_eq!(was, map.remove(&name(number)).is_some());
                }
                Event::Asked(number) => {
                    let now = block_on(names.present(name(number), datastore)).unwrap();
                    let same = name(number);
                    prop_assert_eq!(&now, map.get(&same).unwrap_or(&same));
                }
            }
            instance.commit();
            prop_assert!(names.recent.len() <= FormerNames::MAX_HELD);
            prop_assert!(names.looked_up.len() <= FormerNames::MAX_HELD);
        }
    }
}
