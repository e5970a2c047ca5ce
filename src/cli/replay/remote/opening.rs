//! Which instances a meeting gets, and what a meeting that is there already is to this recording: rules
//! without I/O.

use std::collections::BTreeSet;

use teammy::{MeetingId, Name, Timestamp, node};
use teammy_client::{InstanceInfo, MeetingInfo, Opened, Opening, Status};

use crate::cli::error::Error;

/// The label of a meeting that holds the producer of its recording. By it a meeting is known again that has
/// no packet yet.
const LABEL: &str = "recording";

/// What a replay asks of its meeting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) id: &'a MeetingId,
    pub(super) instances: &'a [String],
    /// The recording's producer id.
    pub(super) producer: &'a str,
    /// How many numbered packets the recording has.
    pub(super) packets: u64,
    /// The option `--started-at`.
    pub(super) started_at: Option<Timestamp>,
}

/// How far a meeting is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It takes packets, and has so many numbered ones of the recording.
    Has(u64),
    /// It has all packets, and has ended.
    Complete,
}

/// The instances that take part: those that are asked for, or all that can; and a note on the others.
pub(super) fn taking_part(
    asked: Option<&[String]>,
    offered: &[InstanceInfo],
) -> (Vec<String>, Option<String>) {
    if let Some(asked) = asked {
        return (asked.to_vec(), None);
    }
    let (left_out, taking_part): (Vec<_>, Vec<_>) = offered.iter().partition(|instance| instance.lacks_llm);
    let names = |instances: Vec<&InstanceInfo>| -> Vec<String> {
        instances.into_iter().map(|instance| instance.name.to_string()).collect()
    };
    let left_out = names(left_out);
    let note = (!left_out.is_empty())
        .then(|| format!("left out, because the nodes have no language model: {}", left_out.join(", ")));
    (names(taking_part), note)
}

/// What the meeting is opened with.
pub(super) fn opening(wanted: Wanted<'_>, began: Timestamp) -> Opening {
    let opening = Opening::new().id(wanted.id.clone()).started_at(began).label(LABEL, wanted.producer);
    wanted.instances.iter().fold(opening, Opening::plugin)
}

/// How far the meeting is that was opened, if it belongs to this recording. It expects this number `next`.
pub(super) fn progress(info: &MeetingInfo, next: u64, wanted: Wanted<'_>) -> Result<Progress, Error> {
    let id = wanted.id.clone();
    let is_new = info.opened == Some(Opened::Started);
    let is_labelled = info.labels.get(LABEL).is_some_and(|producer| producer == wanted.producer);
    // Of packets that are not stored, nothing shows which have been played.
    let is_ours = is_new || wanted.packets > 0 && (is_labelled || next > 1);
    if !is_ours {
        return Err(Error::Node(node::Error::MeetingExists(id)));
    }
    check_instances(info, wanted)?;
    match (wanted.started_at, info.started_at) {
        (Some(asked), Some(began)) if asked != began => return Err(Error::OtherStart { id, began }),
        _ => {}
    }
    let (played, packets) = (next.saturating_sub(1), wanted.packets);
    match info.status {
        Status::Ended if played < packets => Err(Error::EndedEarly { id, played, packets }),
        Status::Ended => Ok(Progress::Complete),
        _ => Ok(Progress::Has(played)),
    }
}

fn check_instances(info: &MeetingInfo, wanted: Wanted<'_>) -> Result<(), Error> {
    let ran: BTreeSet<&str> = info.plugins.iter().map(Name::as_str).collect();
    let asked: BTreeSet<&str> = wanted.instances.iter().map(String::as_str).collect();
    if ran == asked {
        return Ok(());
    }
    let list = asked.into_iter().collect::<Vec<_>>().join(", ");
    let differs = format!("this command asks for {}", if list.is_empty() { "none" } else { &list });
    let ran = ran.into_iter().map(str::to_owned).collect();
    Err(Error::OtherInstances { id: wanted.id.clone(), ran, differs })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn id() -> MeetingId {
        MeetingId::new("m").unwrap()
    }

    fn info(change: impl FnOnce(&mut Value)) -> MeetingInfo {
        let mut info = json!({
            "id": "m", "title": null, "status": "running", "created": "2026-01-05T09:00:00Z", "opened": "running",
            "started_at": "2026-01-05T09:00:00Z", "last_seq": "9", "labels": {"recording": "p"}, "plugins": ["b", "a"],
        });
        change(&mut info);
        serde_json::from_value(info).unwrap()
    }

    /// How far a meeting is that expects this number of a recording of ten packets.
    fn told(info: &MeetingInfo, next: u64) -> Result<Progress, String> {
        let (id, instances) = (id(), ["a".to_owned(), "b".to_owned()]);
        let wanted = Wanted { id: &id, instances: &instances, producer: "p", packets: 10, started_at: None };
        progress(info, next, wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn a_meeting_goes_on_where_it_was_cut_off() {
        assert_eq!(told(&info(|it| it["opened"] = json!("started")), 1), Ok(Progress::Has(0)));
        assert_eq!(told(&info(|_| ()), 1), Ok(Progress::Has(0)), "cut off before its first packet");
        assert_eq!(told(&info(|_| ()), 8), Ok(Progress::Has(7)));
        // One that a node of another kind began.
        assert_eq!(told(&info(|it| it["labels"] = json!({})), 8), Ok(Progress::Has(7)));
        let ended = info(|it| it["status"] = json!("ended"));
        assert_eq!(told(&ended, 11), Ok(Progress::Complete));
        let early = "meeting m has ended after 7 of the recording's 10 packets; the rest was not played";
        assert_eq!(told(&ended, 8), Err(early.to_owned()));
    }

    #[test]
    fn a_meeting_of_something_else_is_left_alone() {
        for labels in [json!({}), json!({"recording": "another"})] {
            let error = told(&info(|it| it["labels"] = labels), 1).unwrap_err();
            assert_eq!(error, "meeting m exists already");
        }
        let error = told(&info(|it| it["plugins"] = json!(["a"])), 3).unwrap_err();
        assert!(error.starts_with("meeting m ran with a, but this command asks for a, b"), "{error}");
        let at = Timestamp::UNIX_EPOCH;
        let (id, instances) = (id(), ["a".to_owned(), "b".to_owned()]);
        let other =
            Wanted { id: &id, instances: &instances, producer: "p", packets: 10, started_at: Some(at) };
        assert!(matches!(progress(&info(|_| ()), 3, other), Err(Error::OtherStart { .. })));
        // Sound leaves no numbers.
        let sound = Wanted { packets: 0, started_at: None, ..other };
        assert!(matches!(progress(&info(|_| ()), 1, sound), Err(Error::Node(_))));
        assert!(progress(&info(|it| it["opened"] = json!("started")), 1, sound).is_ok());
    }

    #[test]
    fn all_instances_take_part_that_can() {
        let offered: Vec<InstanceInfo> = serde_json::from_value(json!([
            {"name": "notes", "kind": "minutes", "version": "1", "sources": ["chat"], "lacks_llm": true},
            {"name": "terms", "kind": "watch-list", "version": "1", "sources": ["chat"]},
        ]))
        .unwrap();
        let (names, note) = taking_part(None, &offered);
        assert_eq!(names, ["terms"]);
        assert!(note.unwrap().ends_with("no language model: notes"));
        let asked = ["notes".to_owned()];
        assert_eq!(taking_part(Some(&asked), &offered), (asked.to_vec(), None));
    }
}
