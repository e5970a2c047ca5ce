//! Vectors of texts, as <https://platform.openai.com/docs/api-reference/embeddings> defines them.
//!
//! `extra_body` of the model is not added: its keys, such as `max_completion_tokens`, are those of a chat, and servers
//! reject keys that they do not know.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::{Value, json};
use teammy_kernel::Usage;

use super::{error::in_answer, transport::malformed, usage::read_usage};
use crate::policy::{Class, Problem};

/// The most texts of a request. The API takes 2048, but the answer to so many is 100 MB of JSON from a large model.
const MAX_TEXTS: usize = 256;

/// The most bytes of a request's texts. The API takes 300,000 tokens, and a token has a byte or more.
const MAX_TEXT_BYTES: usize = 300_000;

/// The most bytes of an answer: 256 vectors of 4096 numbers take half of it, with white space around each.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Texts in the groups that requests may have, in order. A text that is too large is alone: its server says so.
pub(super) fn batches(texts: &[String]) -> impl Iterator<Item = &[String]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |text: &&String| {
            bytes += text.len();
            bytes <= MAX_TEXT_BYTES
        };
        let count = rest.iter().take(MAX_TEXTS).take_while(fits).count().max(1);
        let (batch, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(batch)
    })
}

/// The body of a request.
pub(super) fn body(model: &str, texts: &[String]) -> Value {
    json!({"model": model, "input": texts, "encoding_format": "float"})
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Vec<Item>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Numbers,
}

/// Numbers, or base64 of them as 32-bit floats, which some servers give whatever is asked for.
struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfEither;

        impl<'de> Visitor<'de> for OfEither {
            type Value = Vec<f32>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers, or base64 of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<f32>, E> {
                let bytes = STANDARD.decode(text).map_err(|_| E::custom("no base64"))?;
                let (floats, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(E::custom("half a number"));
                }
                Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<f32>, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = items.next_element()? {
                    numbers.push(number);
                }
                Ok(numbers)
            }
        }

        deserializer.deserialize_any(OfEither).map(Self)
    }
}

/// The vectors in an answer to `count` texts, in the texts' order, and what they cost.
///
/// # Errors
/// If there is not one vector of numbers for each text, all of one length.
pub(super) fn read(body: &[u8], count: usize) -> Result<(Vec<Vec<f32>>, Option<Usage>), Problem> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    if let Some(error) = answer.error {
        return Err(in_answer(&error));
    }
    let usage = answer.usage.as_ref().and_then(read_usage);
    let problem =
        |text: String| Problem { usage: usage.unwrap_or_default(), ..Problem::new(Class::Malformed, text) };
    let given = answer.data.unwrap_or_default();
    if given.len() != count {
        return Err(problem(format!("it gave {} vectors for {count} texts", given.len())));
    }
    let mut places: Vec<Option<Vec<f32>>> = vec![None; count];
    for (position, Item { index, embedding: Numbers(vector) }) in given.into_iter().enumerate() {
        if vector.is_empty() || !vector.iter().all(|number| number.is_finite()) {
            return Err(problem("it gave a vector without numbers".to_owned()));
        }
        // Servers that say no index give the vectors in order.
        match places.get_mut(index.unwrap_or(position)) {
            Some(place @ None) => *place = Some(vector),
            _ => return Err(problem("its vectors are not those of the texts".to_owned())),
        }
    }
    let vectors: Vec<Vec<f32>> = places.into_iter().flatten().collect();
    if vectors.windows(2).any(|two| two[0].len() != two[1].len()) {
        return Err(problem("its vectors have different lengths".to_owned()));
    }
    Ok((vectors, usage))
}

/// What it means that an answer is larger than `limit`.
pub(super) fn too_large(limit: usize) -> Problem {
    Problem::new(Class::Refused, format!("its vectors are larger than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_asked_for_in_groups_that_servers_take() {
        let sizes = |texts: &[String]| batches(texts).map(<[String]>::len).collect::<Vec<_>>();
        let of = |count: usize, bytes: usize| vec!["x".repeat(bytes); count];
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&of(3, 0)), [3]);
        assert_eq!(sizes(&of(600, 10)), [256, 256, 88]);
        assert_eq!(sizes(&of(3, MAX_TEXT_BYTES / 2)), [2, 1]);
        assert_eq!(sizes(&of(2, MAX_TEXT_BYTES + 1)), [1, 1]);
    }

    #[test]
    fn vectors_are_read_as_servers_give_them() {
        let vectors =
            |answer: Value, count| read(answer.to_string().as_bytes(), count).map(|(vectors, _)| vectors);
        let both = Ok(vec![vec![1.0, 2.0], vec![3.0, 4.0]]);
        let first = json!({"index": 0, "embedding": [1, 2.0]});
        let second = json!({"index": 1, "embedding": [3.0, 4e0], "object": 7});
        assert_eq!(vectors(json!({"data": [first, second]}), 2), both);
        assert_eq!(vectors(json!({"data": [second, first], "usage": "much"}), 2), both);
        assert_eq!(vectors(json!({"data": [{"embedding": [1, 2]}, {"embedding": [3, 4]}]}), 2), both);
        let encoded = STANDARD.encode([1.0_f32, 2.0].map(f32::to_le_bytes).concat());
        assert_eq!(vectors(json!({"data": [second, {"index": 0, "embedding": encoded}]}), 2), both);

        let class = |answer: Value, count| vectors(answer, count).unwrap_err().class;
        for (answer, count) in [
            (json!({}), 1),
            (json!([]), 1),
            (json!({"data": null}), 1),
            (json!({"data": [first]}), 2),
            (json!({"data": [first, second]}), 1),
            (json!({"data": [first, first]}), 2),
            (json!({"data": [{"index": 5, "embedding": [1]}]}), 1),
            (json!({"data": [{"index": 0, "embedding": []}]}), 1),
            (json!({"data": [{"index": 0, "embedding": [1e99]}]}), 1),
            (json!({"data": [{"index": 0, "embedding": ["SECRET"]}]}), 1),
            (json!({"data": [{"index": 0, "embedding": "SECRET"}]}), 1),
            (json!({"data": [{"index": 0, "embedding": "AAAA"}]}), 1),
            (json!({"data": [first, {"index": 1, "embedding": [1]}]}), 2),
        ] {
            assert_eq!(class(answer.clone(), count), Class::Malformed, "{answer}");
        }
        assert_eq!(class(json!({"error": {"code": 429}}), 1), Class::Busy);
    }

    #[test]
    fn what_a_wrong_answer_cost_is_known() {
        let answer = json!({"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}});
        let problem = read(answer.to_string().as_bytes(), 1).unwrap_err();
        assert_eq!(problem.usage, Usage { prompt: 5, ..Usage::default() });
    }
}
