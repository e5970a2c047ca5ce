//! The types of the well-known sources.

use std::sync::LazyLock;

use schemars::JsonSchema;

use super::{Chat, ParticipantEvent, PluginStatus, Transcription};
use crate::DataType;

/// A well-known source and its type.
struct WellKnown {
    source: &'static str,
    /// What packets of the source carry.
    written: DataType,
    /// What a hook that takes the type reads.
    read: DataType,
}

impl WellKnown {
    fn json<T: JsonSchema>(source: &'static str) -> Self {
        Self { source, written: DataType::written_by::<T>(), read: DataType::read_by::<T>() }
    }
}

static WELL_KNOWN: LazyLock<[WellKnown; 5]> = LazyLock::new(|| {
    [
        WellKnown { source: "audio", written: DataType::Bytes, read: DataType::Bytes },
        WellKnown::json::<Transcription>("transcription"),
        WellKnown::json::<Chat>("chat"),
        WellKnown::json::<ParticipantEvent>("participant"),
        WellKnown::json::<PluginStatus>("plugin-status"),
    ]
});

/// What a well-known source carries; [`DataType::Any`] of any other source.
pub(crate) fn carried_by(source: &str) -> DataType {
    let known = WELL_KNOWN.iter().find(|known| known.source == source);
    known.map_or(DataType::Any, |known| known.written.clone())
}

/// What follows from the forms and names of what a source carries and a hook takes, without a look into schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtFirstSight {
    /// Nothing speaks against it.
    Fits,
    /// The hook reads no packet, or reads it as what it is not: a chat message has a text, as a transcription has.
    Clashes,
    /// The schemas must be compared.
    Unclear,
}

/// Compares what a source carries with what a hook takes.
pub(crate) fn at_first_sight(carried: &DataType, taken: &DataType) -> AtFirstSight {
    match (carried, taken) {
        (DataType::Any, _) | (_, DataType::Any) => AtFirstSight::Fits,
        (DataType::Json { .. }, DataType::Json { .. }) => {
            let carried = WELL_KNOWN.iter().position(|known| known.written == *carried);
            let taken = WELL_KNOWN.iter().position(|known| known.read == *taken);
            match (carried, taken) {
                (Some(carried), Some(taken)) if carried == taken => AtFirstSight::Fits,
                (Some(_), Some(_)) => AtFirstSight::Clashes,
                _ => AtFirstSight::Unclear,
            }
        }
        (carried, taken) if carried == taken => AtFirstSight::Fits,
        _ => AtFirstSight::Clashes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, FromPacket, IntoPayload, Json};

    #[test]
    fn a_well_known_type_is_itself_alone() {
        for (index, one) in WELL_KNOWN.iter().enumerate() {
            assert_eq!(carried_by(one.source), one.written);
            for (other_index, other) in WELL_KNOWN.iter().enumerate() {
                let expected = if index == other_index { AtFirstSight::Fits } else { AtFirstSight::Clashes };
                assert_eq!(at_first_sight(&one.written, &other.read), expected, "{}", one.source);
            }
        }
        assert_eq!(carried_by("captions"), DataType::Any);
    }

    #[test]
    fn forms_must_agree() {
        let taken = [String::reads(), Bytes::reads(), Json::<u8>::reads()];
        let carried = [String::writes(), Bytes::writes(), Json::<u8>::writes()];
        for (index, carried) in carried.iter().enumerate() {
            assert_eq!(at_first_sight(carried, &DataType::Any), AtFirstSight::Fits);
            for (other, taken) in taken.iter().enumerate() {
                let expected = match (index == other, index) {
                    (true, 2) => AtFirstSight::Unclear,
                    (true, _) => AtFirstSight::Fits,
                    _ => AtFirstSight::Clashes,
                };
                assert_eq!(at_first_sight(carried, taken), expected, "{carried} {taken}");
            }
        }
        assert_eq!(at_first_sight(&DataType::Any, &taken[0]), AtFirstSight::Fits);
    }
}
