//! Sound that the plugin `transcriber` turns into text, with a server that speaks OpenAI's audio API.

use std::{io::Cursor, path::Path};

use serde_json::{Value, json};

use crate::{
    Place,
    llm::server::{CannedAnswer, FakeServer, ReceivedRequest},
    repository,
};

const RATE: u32 = 16_000;
/// A model that hears may say when a word begins with this much error.
const CLOSE_MS: i64 = 300;

fn samples(file: &Path) -> Vec<i16> {
    hound::WavReader::open(file).unwrap().samples().map(Result::unwrap).collect()
}

/// When the first sound begins and the last one ends, in seconds.
fn heard(samples: &[i16], rate: u32) -> (f64, f64) {
    let is_sound = |sample: &i16| sample.unsigned_abs() > 300;
    let first = samples.iter().position(is_sound).unwrap();
    let last = samples.iter().rposition(is_sound).unwrap();
    let at = |index: usize| f64::from(u32::try_from(index).unwrap()) / f64::from(rate);
    (at(first), at(last))
}

/// Hears the sound of a request, and tells who says what by how long it takes.
fn transcribe(asked: &ReceivedRequest) -> CannedAnswer {
    assert_eq!(asked.path, "/v1/audio/transcriptions");
    let Value::String(form) = &asked.body else { panic!("a form is no JSON") };
    for field in ["name=\"model\"\r\n\r\nspeech\r\n", "name=\"language\"\r\n\r\nen\r\n", "filename=\""] {
        assert!(form.contains(field), "{field} is missing");
    }
    let wav = asked.bytes.windows(4).position(|part| part == b"RIFF").unwrap();
    let mut wav = hound::WavReader::new(Cursor::new(&asked.bytes[wav..])).unwrap();
    let (spec, count) = (wav.spec(), wav.duration() as usize);
    assert_eq!((spec.channels, spec.bits_per_sample), (1, 16));
    let samples: Vec<i16> = wav.samples().take(count).map(Result::unwrap).collect();
    let (start, end) = heard(&samples, spec.sample_rate);
    let text = if end - start < 2.2 {
        "Shall we move the release to Thursday?"
    } else {
        "Yes. I will test it on Wednesday."
    };
    let segment = json!({"id": 0, "start": start, "end": end, "text": format!(" {text}")});
    let words: Vec<&str> = text.split(' ').collect();
    let step = (end - start) / f64::from(u32::try_from(words.len()).unwrap());
    let words = (0_u32..).zip(words).map(|(at, word)| {
        let from = step.mul_add(f64::from(at), start);
        json!({"word": word, "start": from, "end": from + step})
    });
    let words: Vec<Value> = words.collect();
    let answer =
        json!({"text": text, "language": "english", "duration": end, "segments": [segment], "words": words});
    CannedAnswer::Raw(200, answer.to_string())
}

#[test]
fn what_each_participant_says_becomes_text_with_its_times() {
    let server = FakeServer::start(transcribe);
    let data = repository("plugins/transcriber/tests/data");
    let [ada, bo] = ["ada.wav", "bo.wav"].map(|file| samples(&data.join(file)));
    // Ada at 1 s and again at 9 s, Bo at 4.5 s.
    let seconds = 12;
    let mut channels = [vec![0; seconds * RATE as usize], vec![0; seconds * RATE as usize]];
    for (channel, at_ms, said) in [(0, 1_000, &ada), (0, 9_000, &ada), (1, 4_500, &bo)] {
        let from = at_ms * RATE as usize / 1_000;
        channels[channel][from..from + said.len()].copy_from_slice(said);
    }
    let place = Place::new();
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(place.path().join("call.wav"), spec).unwrap();
    for (left, right) in channels[0].iter().zip(&channels[1]) {
        wav.write_sample(*left).unwrap();
        wav.write_sample(*right).unwrap();
    }
    wav.finalize().unwrap();
    place.file(
        "teammy.toml",
        format!(
            "[llm]\ntranscription = \"speech\"\n[[llm.model]]\nname = \"speech\"\nbase_url = \"{}\"\n\
             [[plugin]]\nname = \"transcriber\"\nconfig = {{ language = \"en\" }}\n",
            server.base_url()
        ),
    );
    let ran = place
        .run(&["replay", "call.wav", "--json", "--participant", "Ada", "--participant", "Bo"])
        .ends_with(0);
    let outputs = ran.of_source("transcriber");
    let said: Vec<(&str, &str, i64, i64)> = outputs
        .iter()
        .map(|output| {
            let data = &output["payload"];
            let ms = |key: &str| data[key].as_i64().unwrap();
            (
                output["participant"].as_str().unwrap(),
                data["text"].as_str().unwrap(),
                ms("start_ms"),
                ms("end_ms"),
            )
        })
        .collect();
    let ms = |said: &[i16]| i64::try_from(said.len()).unwrap() * 1_000 / i64::from(RATE);
    let truth = [
        ("Ada", "Shall we move the release to Thursday?", 1_000, 1_000 + ms(&ada)),
        ("Bo", "Yes. I will test it on Wednesday.", 4_500, 4_500 + ms(&bo)),
        ("Ada", "Shall we move the release to Thursday?", 9_000, 9_000 + ms(&ada)),
    ];
    assert_eq!(said.len(), truth.len(), "{ran:#?}");
    for (found, wanted) in said.iter().zip(truth) {
        println!("{found:?}, in truth {wanted:?}");
        assert_eq!((found.0, found.1), (wanted.0, wanted.1));
        assert!(
            (found.2 - wanted.2).abs() <= CLOSE_MS && (found.3 - wanted.3).abs() <= CLOSE_MS,
            "{found:?}"
        );
    }
    assert_eq!(server.asked().len(), 3, "silence is not sent");
}
