//! What an answer cost, as far as its server says it.

use serde_json::Value;
use teammy_kernel::Usage;

/// Tokens, as far as the numbers make sense.
pub(super) fn read_usage(usage: &Value) -> Option<Usage> {
    let count = |value: Option<&Value>| -> Option<u64> {
        let value = value?;
        let whole = value.as_u64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was checked to be in range"
        )]
        let rounded = || {
            value.as_f64().filter(|tokens| (0.0..1e15).contains(tokens)).map(|tokens| tokens.round() as u64)
        };
        whole.or_else(rounded)
    };
    let of = |keys: [&str; 2]| keys.iter().find_map(|key| count(usage.get(*key)));
    let (prompt, completion) =
        (of(["prompt_tokens", "input_tokens"]), of(["completion_tokens", "output_tokens"]));
    let total = count(usage.get("total_tokens"));
    // One that is missing or makes no sense follows from the others.
    let prompt_of = |completion: u64| total.map(|total| total.saturating_sub(completion));
    let (prompt, completion) = match (prompt, completion) {
        (Some(prompt), Some(completion)) => (prompt, completion),
        (Some(prompt), None) => (prompt, total.map_or(0, |total| total.saturating_sub(prompt))),
        (None, Some(completion)) => (prompt_of(completion).unwrap_or(0), completion),
        (None, None) => (total?, 0),
    };
    let detail =
        |group: &str, key: &str| count(usage.get(group).and_then(|group| group.get(key))).unwrap_or(0);
    let cached = detail("prompt_tokens_details", "cached_tokens").min(prompt);
    let reasoning = detail("completion_tokens_details", "reasoning_tokens").min(completion);
    Some(Usage { prompt, completion, cached, reasoning })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_read_as_far_as_it_makes_sense() {
        let usage = |usage: Value| read_usage(&usage).map(|usage| (usage.prompt, usage.completion));
        assert_eq!(usage(json!({"prompt_tokens": 5, "completion_tokens": 2})), Some((5, 2)));
        assert_eq!(
            usage(json!({"prompt_tokens": 1151, "completion_tokens": -35, "total_tokens": 1160})),
            Some((1151, 9))
        );
        assert_eq!(
            usage(json!({"prompt_tokens": 5, "completion_tokens": null, "total_tokens": 5})),
            Some((5, 0))
        );
        assert_eq!(usage(json!({"prompt_tokens": 5.0, "completion_tokens": 1.6})), Some((5, 2)));
        assert_eq!(usage(json!({"input_tokens": 5, "output_tokens": 2})), Some((5, 2)));
        assert_eq!(usage(json!({"total_tokens": 7})), Some((7, 0)));
        for none in [
            json!({}),
            json!(null),
            json!("many"),
            json!({"prompt_tokens": "5"}),
            json!({"total_tokens": -1}),
        ] {
            assert_eq!(usage(none), None);
        }
        let details = json!({
            "prompt_tokens": 5, "completion_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 99},
        });
        assert_eq!(read_usage(&details), Some(Usage { prompt: 5, completion: 9, cached: 4, reasoning: 9 }));
    }
}
