//! The name of the environment variable that holds a key.

use crate::{section::VARIABLE_PREFIX, show, value_type::ValueType};

const RIGHT: &str = "takes the name of the environment variable that holds the key, such as \"OPENAI_API_KEY\"; it \
                     cannot be the key itself, and is left out where no key is needed";
const OURS: &str =
    "takes a variable of another name: those that start with TEAMMY_ set keys of the configuration";

/// A variable's name. No message shows a value that is none, since it may be the key.
pub(super) fn variable_name() -> ValueType<String> {
    ValueType::new("name of an environment variable", show::quoted, |raw| match raw.text().map(str::trim) {
        Some(name) if !is_variable(name) || may_be_key(name) => Err(RIGHT.to_owned()),
        Some(name) if name.starts_with(VARIABLE_PREFIX) => Err(OURS.to_owned()),
        Some(name) => Ok(name.to_owned()),
        None => Err(RIGHT.to_owned()),
    })
}

fn is_variable(name: &str) -> bool {
    let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_word && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// Some servers' keys would pass as names (`gsk_…`, `hf_…`, plain hexadecimal digits). They hold a long run
/// of characters of different kinds.
fn may_be_key(name: &str) -> bool {
    const LONG: usize = 24;
    name.split('_').filter(|run| run.len() >= LONG).any(|run| {
        let kinds =
            [char::is_ascii_lowercase, char::is_ascii_uppercase, char::is_ascii_digit as fn(&char) -> bool];
        kinds.iter().filter(|kind| run.chars().any(|c| kind(&c))).count() > 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value_type::Raw;

    fn read(text: &str) -> Result<String, String> {
        (variable_name().read)(&Raw::toml(&text.into())).map_err(|wrong| wrong.0[0].1.clone())
    }

    #[test]
    fn variables_have_any_name() {
        for name in [
            "OPENAI_API_KEY",
            "openai_key",
            "_K2",
            "Key",
            "MyOpenAiKey2",
            "MY_VERY_LONG_VARIABLE_THAT_HOLDS_A_KEY_2",
        ] {
            assert_eq!(read(name).as_deref(), Ok(name));
        }
        assert_eq!(read(" KEY ").as_deref(), Ok("KEY"));
    }

    #[test]
    fn what_may_be_a_key_is_refused_unseen() {
        for key in [
            "sk-proj-hunter2",
            "sk-",
            "",
            " ",
            "2KEY",
            "A KEY",
            "A=B",
            "SCHLÜSSEL",
            "gsk_Xh2rD8vQ0pL5sN7tB4kW9zY1cF6mJ3aE",
            "hf_abcdefghIJKLMNOPQRSTUVWXYzabcdefgh",
            "d41d8cd98f00b204e9800998ecf8427e",
        ] {
            assert_eq!(read(key), Err(RIGHT.to_owned()), "{key}");
        }
        assert_eq!(read("TEAMMY_LLM_KEY"), Err(OURS.to_owned()));
    }
}
