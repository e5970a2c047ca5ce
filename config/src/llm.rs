//! `[llm]` and `[[llm.model]]`: which language models there are, and where.
//!
//! A key is never in the configuration: `api_key_env` names the environment variable that holds it. Whether
//! that variable is set doesn't matter here, since most commands ask no model; who asks one says so.

mod base_url;
#[cfg(test)]
mod tests;
mod variable;

use std::fmt;

use figment::value::Value;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    asked::Fallback,
    entry::{Entry, each},
    keys, lists,
    reader::Reader,
    show,
    takes::{Raw, Takes, Trimmed},
};

use base_url::ModelUrl;
pub use base_url::{BaseUrl, BaseUrlError};
use variable::VariableName;

/// `[llm]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Llm {
    /// The name of the model that `prompt` goes to; there if there are models.
    pub default: Option<String>,
    /// The name of the model that `fast_prompt` goes to; there if there are models.
    pub fast: Option<String>,
    /// The models, as declared; no two of one name.
    pub models: Vec<LlmModel>,
}

impl Llm {
    /// The model of this name.
    pub fn model(&self, name: &str) -> Option<&LlmModel> {
        self.models.iter().find(|model| model.name == name)
    }

    pub(crate) fn read(reader: &mut Reader) -> Self {
        let words = |words: &str| Fallback::Words(words.to_owned());
        let default = reader.take_optional("llm.default", &ModelName, words("the first model"));
        let fast = reader.take_optional("llm.fast", &ModelName, words("what `llm.default` is"));
        let models = models(reader);
        if let Some(models) = &models {
            check(reader, "llm.default", default.as_deref(), models);
            check(reader, "llm.fast", fast.as_deref(), models);
        }
        let mut llm = Self { default, fast, models: models.unwrap_or_default() };
        llm.fill(reader);
        llm
    }

    /// Where there is a model, there is a default and a fast one.
    fn fill(&mut self, reader: &mut Reader) {
        let Some(first) = self.models.first() else { return };
        let mut fill = |key: &str, name: Option<String>, otherwise: &str| {
            name.unwrap_or_else(|| {
                reader.set(key, show::quoted(otherwise), "default");
                otherwise.to_owned()
            })
        };
        let default = fill("llm.default", self.default.take(), &first.name);
        self.fast = Some(fill("llm.fast", self.fast.take(), &default));
        self.default = Some(default);
    }
}

/// One `[[llm.model]]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LlmModel {
    /// What it is called here.
    pub name: String,
    /// What its server calls it.
    pub model: String,
    /// Where its server is.
    pub base_url: BaseUrl,
    /// The key to its server.
    pub api_key: ApiKey,
    /// Fields that are added to each request, over those that are there anyway.
    pub extra_body: serde_json::Map<String, serde_json::Value>,
}

/// The key to a model's server. `Debug` doesn't show it.
#[derive(Clone)]
pub enum ApiKey {
    /// No key is asked for.
    None,
    /// The variable that `api_key_env` names is not set, or blank.
    Unset {
        /// The variable.
        variable: String,
    },
    /// The key, without blanks around it.
    Set(SecretString),
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Unset { variable } => f.debug_struct("Unset").field("variable", variable).finish(),
            Self::Set(_) => f.write_str("Set(********)"),
        }
    }
}

impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Unset { variable: a }, Self::Unset { variable: b }) => a == b,
            (Self::Set(a), Self::Set(b)) => a.expose_secret() == b.expose_secret(),
            _ => false,
        }
    }
}

impl Eq for ApiKey {}

/// The models; `None` where it isn't known what they are all called.
fn models(reader: &mut Reader) -> Option<Vec<LlmModel>> {
    let before = reader.problems.len();
    let mut names: Vec<String> = Vec::new();
    let models = each(reader, &keys::MODEL, |mut entry| {
        let model = LlmModel::read(&mut entry);
        if !model.name.is_empty() && names.contains(&model.name) {
            let name = shown(&model.name);
            entry.complain("name", format!("is {name}, as another [[llm.model]] is; give each its own"));
        }
        names.push(model.name.clone());
        model
    });
    let models = models.unwrap_or_default();
    let is_wrong = models.is_empty() && reader.problems.len() > before;
    (!is_wrong && !names.iter().any(String::is_empty)).then_some(models)
}

/// Complains about a name that is no model's.
fn check(reader: &mut Reader, key: &str, name: Option<&str>, models: &[LlmModel]) {
    let Some(name) = name.filter(|name| models.iter().all(|model| model.name != *name)) else { return };
    let problem = if models.is_empty() {
        format!(
            "is {name}, but there is no model; add a [[llm.model]] with name = {name}",
            name = shown(name)
        )
    } else {
        let names = || models.iter().map(|model| model.name.as_str());
        let hint = match keys::closest(name, names()) {
            Some(meant) => format!("did you mean {}?", shown(meant)),
            None => format!("there are: {}", names().map(shown).collect::<Vec<_>>().join(", ")),
        };
        format!("is {}, but no [[llm.model]] has that name; {hint}", shown(name))
    };
    reader.complain_about(key, problem);
}

fn shown(name: &str) -> String {
    format!("\"{}\"", show::cut(name))
}

impl LlmModel {
    fn read(entry: &mut Entry<'_>) -> Self {
        let name = entry.name(&Trimmed);
        let model = entry.take_or_other("model", &Trimmed, name.clone(), "its name");
        let base_url = entry.take_or("base_url", &ModelUrl, BaseUrl::default());
        let none = Fallback::Words("none: no key is sent".to_owned());
        let api_key = match entry.take("api_key_env", &VariableName, none) {
            None => ApiKey::None,
            Some(variable) => match entry.secret("api_key", &variable) {
                Some(key) => ApiKey::Set(key),
                None => ApiKey::Unset { variable },
            },
        };
        let extra_body = extra_body(entry);
        Self { name, model, base_url, api_key, extra_body }
    }
}

/// What a server or a model wants beside the question, such as a limit on the answer's length.
fn extra_body(entry: &mut Entry<'_>) -> serde_json::Map<String, serde_json::Value> {
    /// What asking is made of.
    const OURS: [&str; 3] = ["messages", "model", "stream"];
    const KEY: &str = "extra_body";
    let Some(table) = entry.table(KEY, "table of fields that are added to each request") else {
        return serde_json::Map::new();
    };
    let serde_json::Value::Object(fields) = lists::json(entry, KEY, Value::from(table)) else {
        return serde_json::Map::new();
    };
    for field in OURS.iter().filter(|field| fields.contains_key(**field)) {
        let problem = match *field {
            "stream" => "cannot be set here: answers are taken whole",
            _ => "cannot be set here: it is part of every question",
        };
        entry.complain(&format!("{KEY}.{field}"), problem);
    }
    entry.set(KEY, show::table(&serde_json::Value::Object(fields.clone())));
    fields
}

/// The name of a model of the list.
struct ModelName;

impl Takes for ModelName {
    type Value = String;

    fn read(&self, raw: &Raw) -> Result<String, String> {
        Trimmed.read(raw)
    }

    fn show(&self, value: &String) -> String {
        Trimmed.show(value)
    }

    fn describe(&self) -> String {
        "name of a `[[llm.model]]`".to_owned()
    }
}
