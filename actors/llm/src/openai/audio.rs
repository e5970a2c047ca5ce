//! The text of sound, as <https://platform.openai.com/docs/api-reference/audio/createTranscription> defines it.
//!
//! A server is asked for the times of words and segments first. One that does not give them says so, and is asked for
//! less from then on. `extra_body` of the model is not added: its keys are those of a chat.

use std::{io::Cursor, ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use hound::{SampleFormat, WavSpec, WavWriter};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use teammy_kernel::{Audio, Spoken, TranscribeRequest, Transcript};

use super::{
    error::{in_answer, named},
    transport::{Rejection, malformed},
    usage::read_usage,
};
use crate::policy::{Class, Problem};

/// The most bytes of an answer. An hour of speech has 1 MB of words with their times.
pub(super) const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The most samples of sound: the sizes in a WAV file have 32 bits, and so has the file's head.
const MAX_SAMPLES: usize = (u32::MAX as usize - 1024) / 2;

/// The samples a second that a file may have. The writer of files panics at others.
const RATES: RangeInclusive<u32> = 1..=10_000_000;

/// The latest time in a transcript, in seconds: 30 years. It keeps sums of times in range.
const LATEST: f64 = 1e9;

/// The parameters that ask for times.
const GRANULARITIES: &str = "timestamp_granularities";
const FORM: [&str; 2] = ["response_format", "verbose_json"];

/// What a server is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// The times of segments and words.
    #[default]
    Words,
    /// What it gives beside the text on its own, mostly the times of segments.
    Segments,
    /// The text.
    Text,
}

impl Detail {
    /// What else to ask for, if that is what the server rejects.
    pub(super) fn less(self, rejection: &Rejection) -> Option<Self> {
        let is_rejected = matches!(rejection.problem.class, Class::Misconfigured | Class::Refused);
        let parameters = [GRANULARITIES, FORM[0], FORM[1]];
        let rejected = named(&rejection.body, &parameters).filter(|_| is_rejected)?;
        match self {
            Self::Words if rejected == GRANULARITIES => Some(Self::Segments),
            Self::Words | Self::Segments => Some(Self::Text),
            Self::Text => None,
        }
    }

    /// The problem of a server that does not even give text in the form that was asked for.
    pub(super) fn problem(rejection: Rejection) -> Problem {
        let mut problem = rejection.problem;
        if problem.class == Class::Misconfigured && named(&rejection.body, &FORM).is_some() {
            "it gives no transcript as JSON".clone_into(&mut problem.text);
        }
        problem
    }

    fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Words => &[
                ("response_format", "verbose_json"),
                ("timestamp_granularities[]", "word"),
                ("timestamp_granularities[]", "segment"),
            ],
            Self::Segments => &[("response_format", "verbose_json")],
            Self::Text => &[("response_format", "json")],
        }
    }
}

/// A file of sound.
#[derive(Debug, Clone)]
pub(super) struct Sound {
    name: String,
    kind: &'static str,
    content: Bytes,
}

/// Sound as a file: samples as WAV.
///
/// # Errors
/// If it is in a form that cannot be sent.
pub(super) fn sound(audio: &Audio) -> Result<Sound, Problem> {
    match audio {
        Audio::Samples { rate, samples } => {
            let content =
                wav(*rate, samples).ok_or_else(|| refused("its samples are too many for a file"))?;
            Ok(Sound { name: "audio.wav".to_owned(), kind: "audio/wav", content })
        }
        Audio::File { name, content } => {
            // The end of the name alone is sent: it says the form, and the rest may be words of the meeting.
            let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
            let is_plain =
                (1..=8).contains(&end.len()) && end.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let kind = match &*end {
                "wav" => "audio/wav",
                "mp3" | "mpga" | "mpeg" => "audio/mpeg",
                "mp4" | "m4a" => "audio/mp4",
                "flac" => "audio/flac",
                "ogg" | "oga" | "opus" => "audio/ogg",
                "webm" => "audio/webm",
                _ => "application/octet-stream",
            };
            let name = if is_plain { format!("audio.{end}") } else { "audio".to_owned() };
            Ok(Sound { name, kind, content: content.clone() })
        }
        _ => Err(refused("sound of this form cannot be sent")),
    }
}

fn refused(text: &str) -> Problem {
    Problem::new(Class::Refused, text)
}

/// One channel of samples as a WAV file. None if they are too many, or their rate makes no sense.
fn wav(rate: u32, samples: &[i16]) -> Option<Bytes> {
    if samples.len() > MAX_SAMPLES || !RATES.contains(&rate) {
        return None;
    }
    let spec =
        WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = Cursor::new(Vec::with_capacity(samples.len() * 2 + 64));
    let mut writer = WavWriter::new(&mut file, spec).ok()?;
    let mut all = writer.get_i16_writer(u32::try_from(samples.len()).ok()?);
    for sample in samples {
        all.write_sample(*sample);
    }
    all.flush().ok()?;
    writer.finalize().ok()?;
    Some(file.into_inner().into())
}

/// The body of a request. Its boundary is random, so that no content has it.
///
/// # Errors
/// Never: each kind of sound can stand in a header.
pub(super) fn form(
    model: &str,
    request: &TranscribeRequest,
    sound: Sound,
    detail: Detail,
) -> Result<Form, reqwest::Error> {
    let mut form = Form::new().text("model", model.to_owned());
    if let Some(language) = &request.language {
        form = form.text("language", language.clone());
    }
    if let Some(hint) = &request.hint {
        form = form.text("prompt", hint.clone());
    }
    for (name, value) in detail.fields() {
        form = form.text(*name, *value);
    }
    let length = sound.content.len() as u64;
    let file = Part::stream_with_length(sound.content, length).file_name(sound.name).mime_str(sound.kind)?;
    Ok(form.part("file", file))
}

/// Reads an answer, whose header says that it is of this kind.
///
/// # Errors
/// If it is no transcript.
pub(super) fn read(kind: &str, body: &[u8]) -> Result<Transcript, Problem> {
    let is_json = kind.contains("json") || body.trim_ascii_start().starts_with(b"{");
    if is_json {
        return match serde_json::from_slice(body).map_err(|error| malformed(&error))? {
            Value::String(text) => Ok(Transcript::new(text.trim())),
            object => read_object(&object),
        };
    }
    // Some servers give the bare text, whatever is asked for, and some of those call it HTML.
    let is_text = kind.is_empty() || kind.starts_with("text/plain") || kind.starts_with("text/html");
    let text = std::str::from_utf8(body).ok().map(str::trim);
    match text.filter(|text| is_text && !text.starts_with('<')) {
        Some(text) => Ok(Transcript::new(text)),
        None => Err(no_transcript()),
    }
}

fn no_transcript() -> Problem {
    Problem::new(Class::Malformed, "its answer is no transcript")
}

fn read_object(object: &Value) -> Result<Transcript, Problem> {
    if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
        return Err(in_answer(error));
    }
    let mut transcript = Transcript::default();
    let segments = object.get("segments");
    transcript.segments = spoken(items(segments));
    transcript.words = spoken(items(object.get("words")));
    if transcript.words.is_empty() {
        // Some servers put the words into their segments.
        transcript.words = spoken(items(segments).flat_map(|segment| items(segment.get("words"))));
    }
    transcript.text = match object.get("text") {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Null) | None if segments.is_some_and(Value::is_array) => {
            let texts: Vec<&str> = transcript.segments.iter().map(|segment| &*segment.text).collect();
            texts.join(" ")
        }
        Some(Value::Null) => String::new(),
        _ => return Err(no_transcript()),
    };
    let language = object.get("language").and_then(Value::as_str).map(str::trim);
    transcript.language = language.filter(|language| !language.is_empty()).map(str::to_owned);
    // Where sound is paid by its time, there are no tokens to count.
    transcript.usage = object.get("usage").and_then(read_usage);
    Ok(transcript)
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// Parts with their times. A time that is missing or makes no sense follows from those around it.
fn spoken<'a>(items: impl Iterator<Item = &'a Value>) -> Vec<Spoken> {
    let mut before = Duration::ZERO;
    let mut all = Vec::new();
    for item in items {
        let text = ["word", "text"].into_iter().find_map(|key| item.get(key)?.as_str());
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { continue };
        let start = item.get("start").and_then(time).unwrap_or(before);
        let end = item.get("end").and_then(time).unwrap_or(start).max(start);
        before = end;
        all.push(Spoken { start, end, text: text.to_owned() });
    }
    all
}

/// A time in seconds: a number, or a text of one. One before the beginning is the beginning.
fn time(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.trim().trim_end_matches('s').parse().ok()?,
        value => value.as_f64()?,
    };
    let seconds = Some(seconds).filter(|seconds: &f64| seconds.is_finite())?;
    Some(Duration::from_secs_f64(seconds.clamp(0.0, LATEST)))
}

/// What it means that an answer is larger than `limit`.
pub(super) fn too_large(limit: usize) -> Problem {
    Problem::new(Class::Refused, format!("its transcript is larger than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(start: f64, end: f64, text: &str) -> Spoken {
        let of = Duration::from_secs_f64;
        Spoken { start: of(start), end: of(end), text: text.to_owned() }
    }

    #[test]
    fn times_are_read_as_far_as_they_make_sense() {
        for (item, start, end) in [
            (json!({"start": 2.5, "end": 3}), 2.5, 3.0),
            (json!({"start": "2.5", "end": " 3.25s"}), 2.5, 3.25),
            (json!({"start": -0.1, "end": 1}), 0.0, 1.0),
            (json!({"start": 3, "end": 2}), 3.0, 3.0),
            (json!({"start": 2}), 2.0, 2.0),
            (json!({"start": null, "end": 4}), 1.5, 4.0),
            (json!({"end": null}), 1.5, 1.5),
            (json!({"start": "nan", "end": "inf"}), 1.5, 1.5),
            (json!({"start": 2, "end": 1e300}), 2.0, LATEST),
            (json!({"start": [], "end": {}}), 1.5, 1.5),
        ] {
            let mut second = item.clone();
            second["word"] = json!(" b ");
            let words = [json!({"word": "a", "start": 1, "end": 1.5}), second];
            assert_eq!(spoken(words.iter()), [part(1.0, 1.5, "a"), part(start, end, "b")], "{item}");
        }
        let odd = [json!(null), json!(7), json!({"word": null}), json!({"text": " "}), json!({"start": 1})];
        assert_eq!(spoken(odd.iter()), []);
    }

    #[test]
    fn samples_become_a_file() {
        let samples = [0, 1, -1, i16::MAX, i16::MIN];
        let file = wav(16_000, &samples).unwrap();
        let mut reader = hound::WavReader::new(Cursor::new(file)).unwrap();
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (1, 16_000, 16));
        assert_eq!(reader.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), samples);
        assert!(wav(8_000, &[]).is_some());
        for rate in [0, u32::MAX] {
            assert!(wav(rate, &samples).is_none());
        }
    }

    #[test]
    fn the_end_of_a_files_name_alone_is_sent() {
        for (name, sent, kind) in [
            ("said.mp3", "audio.mp3", "audio/mpeg"),
            ("Secret talk.of.WAV", "audio.wav", "audio/wav"),
            ("said", "audio", "application/octet-stream"),
            ("a.mp3\"\r\nx: y", "audio", "application/octet-stream"),
            ("a.verylongend", "audio", "application/octet-stream"),
            ("a.", "audio", "application/octet-stream"),
        ] {
            let sound = sound(&Audio::file(name, vec![1])).unwrap();
            assert_eq!((&*sound.name, sound.kind), (sent, kind), "{name}");
        }
    }

    #[test]
    fn a_rejection_is_learned_from_if_it_names_what_was_asked_for() {
        let less = |detail: Detail, class, body: Value| {
            let problem = Problem::new(class, "");
            detail.less(&Rejection { problem, body: body.to_string().into() })
        };
        let of_form = json!({"error": {"param": "response_format", "code": "unsupported_value"}});
        let of_times = json!({"error": {"message": "timestamp_granularities needs another response_format"}});
        let list = json!({"detail": [{"loc": ["body", "response_format"], "input": "verbose_json"}]});
        for (detail, class, body, gives) in [
            (Detail::Words, Class::Misconfigured, &of_form, Some(Detail::Text)),
            (Detail::Words, Class::Refused, &of_times, Some(Detail::Segments)),
            (Detail::Words, Class::Refused, &list, Some(Detail::Text)),
            (Detail::Segments, Class::Refused, &of_times, Some(Detail::Text)),
            (Detail::Text, Class::Misconfigured, &of_form, None),
            (Detail::Words, Class::Busy, &of_form, None),
            (Detail::Words, Class::Refused, &json!({"error": {"message": "no sound"}}), None),
            (Detail::Words, Class::Refused, &json!("response_format"), None),
        ] {
            assert_eq!(less(detail, class, body.clone()), gives, "{detail:?} {body}");
        }
    }
}
