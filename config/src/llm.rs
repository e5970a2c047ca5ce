//! `[llm]` and `[[llm.model]]`: the language models, and where they are.
//!
//! The configuration never holds a key: `api_key_env` names the environment variable that does. A variable
//! that is not set is no mistake here, since most commands ask no model; the one that asks a model reports
//! it.

mod base_url;
mod money;
#[cfg(test)]
mod tests;
mod variable;

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    known_keys,
    reader::Reader,
    show,
    size::Size,
    table::{self, Fields, table},
    value_type::{ValueType, Wrong, count, duration, json_table, name, serde_value, size},
};

const MILLISECOND: Duration = Duration::from_millis(1);

use base_url::model_url;
pub use base_url::{BaseUrl, BaseUrlError};
pub use money::{Price, Usd};
use money::{dollars, prices};
use variable::variable_name;

table! {
    /// The language models that plugins ask. Without a model, plugins that need one cannot run.
    "[llm]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Llm {
        /// The model for prompts, by its name.
        default: Option<String> = model_name().or_blank().optional()
            .words("the first model").example("gpt");
        /// The model for prompts that need a fast answer more than the best one.
        fast: Option<String> = model_name().or_blank().optional()
            .words("what `llm.default` is").example("gpt");
        /// The model for vectors of texts, by its name; it speaks OpenAI's embeddings API.
        embedding: Option<String> = model_name().or_blank().optional()
            .words("none").example("gpt");
        /// The model for the text of sound, by its name; it speaks OpenAI's audio API.
        transcription: Option<String> = model_name().or_blank().optional()
            .words("none").example("gpt");
        /// How long a server may take to accept a connection.
        connect: Duration = duration(MILLISECOND).default("10s");
        /// How long a server may take to the first useful token of an answer: text, thoughts, a function's call.
        /// Comments that keep a connection alive do not count.
        first_token: Duration = duration(MILLISECOND).default("30s");
        /// How long it may take from one useful token to the next.
        between_tokens: Duration = duration(MILLISECOND).default("15s");
        /// How long one try may take in all; a hook's own deadline applies anyway.
        total: Option<Duration> = duration(MILLISECOND).map(Some, Option::as_ref).optional()
            .words("no limit").example("2m");
        /// How often a model is asked when it fails, if the failure is one that another try may mend.
        tries: u32 = count(1..=10).default(3);
        /// How long an answer at temperature 0 is kept for others that ask the same: "0s" keeps none. Requests that run at
        /// the same time share one answer anyway.
        cache: Duration = duration(Duration::ZERO).default("0s");
        /// How much memory such answers may take.
        cache_memory: Size = size(Size::mib(1)..=Size::mib(1 << 20)).default("64MiB");
        /// The meetings' label that names their tenant, for budgets.
        tenant_label: String = name().default("tenant");
    }
    and {
        /// The budgets, as declared; no two have the same name.
        budgets: Vec<LlmBudget>;
        /// The models, as declared; no two have the same name. If there is one, `default` and `fast` are
        /// set.
        models: Vec<LlmModel>;
    }
}

table! {
    /// A model on a server that speaks OpenAI's protocol.
    "[[llm.model]]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LlmModel {
        /// The model's name in this configuration.
        name: String = name().required().example("gpt");
        /// The model's name on its server.
        model: String = name().same_as("name", "its name").example("gpt-4.1-mini");
        /// The URL of its server, without `/chat/completions`; for a server on this machine for example
        /// `http://localhost:8080/v1`.
        base_url: BaseUrl = model_url().default(BaseUrl::OPENAI);
        /// The key to its server, by the name of the environment variable that holds it. The key itself does
        /// not belong in a file.
        api_key as api_key_env: ApiKey = api_key().optional()
            .words("none; no key is sent").example("OPENAI_API_KEY");
        /// Fields to add to each request for text. A limit keeps a small model from talking for ever:
        /// `max_completion_tokens`, or `max_tokens` on older servers. A `temperature` here applies to every
        /// question.
        extra_body: serde_json::Map<String, serde_json::Value> = extra_body().optional()
            .example(serde_json::json!({ "max_completion_tokens": 1000 }));
        /// The models to ask, in this order, when this one fails, by their names.
        fallback: Vec<String> = serde_value("a list of names of [[llm.model]] in quotes").optional()
            .example(serde_json::json!(["gpt"]));
        /// The most requests to it at once; others wait, and the meetings take turns.
        concurrency: Option<usize> = count(1..=10_000).map(Some, Option::as_ref).optional()
            .words("no limit").example(16);
        /// The most tokens of an answer; a plugin may ask for fewer. Where a budget applies and neither says so, it is
        /// 4096: what an answer may cost must be known before it is asked for. A limit in `extra_body` takes its place. With
        /// `max_tokens_field = "omit"` it is not sent: then it is what the server allows, and a budget needs it.
        max_tokens: Option<u32> = count(1..=10_000_000).map(Some, Option::as_ref).optional()
            .words("what the server allows").example(1000);
        /// What it costs, in US dollars for a million tokens, for the money in budgets and accounts. `cached_input` is for
        /// tokens that the server had in a cache (without it as `input`). A price `above` so many tokens of input applies
        /// to requests that are larger, as some servers charge.
        price: Vec<Price> = prices().optional().example(serde_json::json!([
            { "input": 0.4, "cached_input": 0.1, "output": 1.6 },
        ]));
        /// The most requests to it a minute.
        requests_per_minute: Option<u32> = count(1..=1_000_000).map(Some, Option::as_ref).optional()
            .words("no limit").example(500);
        /// The most tokens to it a minute, of requests and answers.
        tokens_per_minute: Option<u32> = count(1..=1_000_000_000).map(Some, Option::as_ref).optional()
            .words("no limit").example(200_000);
        /// Whether a sampling temperature is sent. `omit` is for models that take only their own.
        temperature: TemperatureMode = serde_value("\"send\" or \"omit\"").default("send");
        /// The field that bounds an answer's length: `max_completion_tokens`, `max_tokens` for older servers, or `omit`. It
        /// is not sent beside a limit in `extra_body`.
        max_tokens_field: MaxTokensField =
            serde_value("\"max_completion_tokens\", \"max_tokens\" or \"omit\"").default("max_tokens");
        /// The role of system messages: `system`, `developer`, or `user` for models that have none.
        system_role: SystemRole = serde_value("\"system\", \"developer\" or \"user\"").default("system");
        /// How the server is told that an answer must be JSON: `schema` by its JSON Schema, `object` that it is an object,
        /// `prompt` only by the instructions to the model, which say it in any case. A server that rejects the first two is
        /// told by the instructions from then on.
        json: JsonMode = serde_value("\"schema\", \"object\" or \"prompt\"").default("schema");
        /// Whether answers are streamed, so that a server that stalls is noticed. Without it only `total` and the hook's
        /// deadline limit the time of an answer.
        stream: bool = serde_value("true or false").default(true);
    }
}

table! {
    /// What requests to models may cost in all. A request is paid from each budget that fits its meeting and instance, and
    /// is not sent when one of them has too little left. Nodes that share a database share the budgets.
    "[[llm.budget]]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LlmBudget {
        /// Its name, which errors show.
        name: String = name().required().example("daily");
        /// What has a budget of its own: `node` (all meetings together), each `tenant` (see `llm.tenant_label`), each
        /// `meeting`, or each `instance` in each meeting. What an instance asks while the node shuts down belongs to no
        /// meeting.
        per: BudgetScope = serde_value("\"node\", \"tenant\", \"meeting\" or \"instance\"").default("node");
        /// When it begins anew: each `hour`, each `day` (UTC), or never within a `meeting`.
        window: BudgetWindow = serde_value("\"hour\", \"day\" or \"meeting\"").default("day");
        /// Only meetings of this tenant.
        tenant: Option<String> = name().or_blank().optional().words("all").example("acme");
        /// Only instances of this name.
        instance: Option<String> = name().or_blank().optional().words("all").example("minutes");
        /// The most tokens, read and written.
        tokens: Option<u64> = count(0..=1_000_000_000_000).map(Some, Option::as_ref).optional()
            .words("no limit").example(1_000_000);
        /// The most money, in US dollars; the models need a `price`.
        usd: Option<Usd> = dollars().map(Some, Option::as_ref).optional().words("no limit").example(2.5);
    }
}

/// What has a budget of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// All meetings together.
    #[default]
    Node,
    /// The meetings of a tenant.
    Tenant,
    /// A meeting.
    Meeting,
    /// An instance in a meeting.
    Instance,
}

/// When a budget begins anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetWindow {
    /// Each hour.
    Hour,
    /// Each day, UTC.
    #[default]
    Day,
    /// Never: it is for a whole meeting.
    Meeting,
}

/// Whether a sampling temperature is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemperatureMode {
    /// It is.
    #[default]
    Send,
    /// It is not.
    Omit,
}

/// The field that bounds an answer's length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_tokens`, which most servers know.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, its new name.
    MaxCompletionTokens,
    /// None.
    Omit,
}

/// The role of system messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// `system`.
    #[default]
    System,
    /// `developer`, its new name.
    Developer,
    /// They become part of the user's message.
    User,
}

/// How a server is told that an answer must be JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonMode {
    /// By the answer's JSON Schema.
    #[default]
    Schema,
    /// That it is an object.
    Object,
    /// By the instructions to the model alone.
    Prompt,
}

/// The key to a model's server. `Debug` doesn't show it.
#[derive(Clone, Default)]
pub enum ApiKey {
    /// The server asks for no key.
    #[default]
    None,
    /// The variable that `api_key_env` names is not set, or blank.
    Unset {
        /// The variable.
        variable: String,
    },
    /// The key, without spaces around it.
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

/// What bounds the length of a model's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerLimit {
    /// Each request does, and allows this many tokens at most if there is a number.
    Asked(Option<u32>),
    /// Its settings or its server do, by this many tokens, whatever a request asks for.
    Fixed(u64),
    /// Nothing that is known.
    Unknown,
}

impl LlmModel {
    /// The fields that bound an answer's length.
    const LIMITS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

    /// The field in which a request says how long its answer may be. None if it cannot say so, or `extra_body` does.
    pub fn limit_field(&self) -> Option<&'static str> {
        if Self::LIMITS.into_iter().any(|field| self.extra_body.contains_key(field)) {
            return None;
        }
        match self.max_tokens_field {
            MaxTokensField::MaxTokens => Some("max_tokens"),
            MaxTokensField::MaxCompletionTokens => Some("max_completion_tokens"),
            MaxTokensField::Omit => None,
        }
    }

    /// What bounds the length of its answers.
    pub fn answer_limit(&self) -> AnswerLimit {
        if self.limit_field().is_some() {
            return AnswerLimit::Asked(self.max_tokens);
        }
        let given: Vec<_> = Self::LIMITS.into_iter().filter_map(|field| self.extra_body.get(field)).collect();
        // Servers take 0 and less for no limit. Of two fields a server may heed either.
        let numbers = given.iter().map(|limit| limit.as_u64().filter(|tokens| *tokens > 0));
        let in_extra_body = numbers.collect::<Option<Vec<u64>>>().and_then(|all| all.into_iter().max());
        match in_extra_body.or(self.max_tokens.map(u64::from)) {
            Some(tokens) => AnswerLimit::Fixed(tokens),
            None => AnswerLimit::Unknown,
        }
    }
}

impl Llm {
    /// The model of this name.
    pub fn model(&self, name: &str) -> Option<&LlmModel> {
        self.models.iter().find(|model| model.name == name)
    }

    /// Reads `[llm]` with its models.
    pub(crate) fn read_all(reader: &mut Reader) -> Self {
        let mut llm: Self = table::read(reader);
        let models = models(reader);
        if let Some(models) = &models {
            check(reader, "llm.default", llm.default.as_deref(), models);
            check(reader, "llm.fast", llm.fast.as_deref(), models);
            check(reader, "llm.embedding", llm.embedding.as_deref(), models);
            check(reader, "llm.transcription", llm.transcription.as_deref(), models);
            for (at, model) in models.iter().enumerate() {
                for (place, name) in model.fallback.iter().enumerate() {
                    check(reader, &format!("llm.model[{at}].fallback[{place}]"), Some(name), models);
                }
            }
        }
        llm.budgets = budgets(reader, models.as_deref());
        llm.models = models.unwrap_or_default();
        llm.fill(reader);
        llm
    }

    /// If there is a model, sets `default` and `fast`.
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

/// The models; `None` where a mistake hides the name of one.
fn models(reader: &mut Reader) -> Option<Vec<LlmModel>> {
    let before = reader.problems.len();
    let mut names: Vec<String> = Vec::new();
    let models = table::read_list(reader, |model: &mut LlmModel, fields: &mut Fields<'_>| {
        if let ApiKey::Unset { variable } = &model.api_key
            && let Some(key) = read_key(fields, variable)
        {
            model.api_key = ApiKey::Set(key);
        }
        if !model.name.is_empty() && names.contains(&model.name) {
            let name = shown(&model.name);
            let problem = format!("is {name}, as another [[llm.model]] is; give each its own");
            fields.reader.complain(&fields.origin, format!("{}.name", fields.path), problem);
        }
        names.push(model.name.clone());
    });
    let models = models.unwrap_or_default();
    let is_wrong = models.is_empty() && reader.problems.len() > before;
    (!is_wrong && !names.iter().any(String::is_empty)).then_some(models)
}

/// The budgets.
fn budgets(reader: &mut Reader, models: Option<&[LlmModel]>) -> Vec<LlmBudget> {
    let mut names: Vec<String> = Vec::new();
    let budgets = table::read_list(reader, |budget: &mut LlmBudget, fields: &mut Fields<'_>| {
        let mut complain = |key: &str, problem: String| {
            fields.reader.complain(&fields.origin, format!("{}.{key}", fields.path), problem);
        };
        if !budget.name.is_empty() && names.contains(&budget.name) {
            let name = shown(&budget.name);
            complain("name", format!("is {name}, as another [[llm.budget]] is; give each its own"));
        }
        if budget.window == BudgetWindow::Meeting
            && !matches!(budget.per, BudgetScope::Meeting | BudgetScope::Instance)
        {
            let problem = "is \"meeting\", which is for budgets per \"meeting\" or \"instance\"; take \"hour\" or \"day\"";
            complain("window", problem.to_owned());
        }
        if budget.tokens.is_none() && budget.usd.is_none() {
            complain("tokens", "is missing, as is usd; a budget needs one of them".to_owned());
        }
        let unpriced = models.into_iter().flatten().find(|model| model.price.is_empty());
        if let Some(model) = unpriced.filter(|_| budget.usd.is_some()) {
            let name = shown(&model.name);
            complain(
                "usd",
                format!("is given, but [[llm.model]] {name} has no price; give it one (0 if it is free)"),
            );
        }
        let counts =
            |model: &LlmModel| budget.tokens.is_some() || model.price.iter().any(|price| price.output > 0);
        let is_unbounded = |model: &&LlmModel| model.answer_limit() == AnswerLimit::Unknown && counts(model);
        let unbounded = models.into_iter().flatten().find(is_unbounded);
        if let Some(model) = unbounded {
            let (key, name) = (if budget.tokens.is_some() { "tokens" } else { "usd" }, shown(&model.name));
            complain(
                key,
                format!(
                    "is given, but nothing says how long an answer of [[llm.model]] {name} can be: set its \
                     `max_tokens` to what its server allows, or a limit in its `extra_body`"
                ),
            );
        }
        names.push(budget.name.clone());
    });
    budgets.unwrap_or_default()
}

/// The value of a key's variable. A setting shows whether it is set.
fn read_key(fields: &mut Fields<'_>, variable: &str) -> Option<SecretString> {
    let key = fields.reader.variable(variable);
    let origin = format!("environment variable {variable}");
    let (shown, origin) = match key {
        Some(_) => (show::MASK.to_owned(), origin),
        None => (show::quoted(""), format!("{origin}, which is not set")),
    };
    fields.reader.set(format!("{}.api_key", fields.path), shown, &origin);
    key
}

/// Notes a mistake if the name is that of no model.
fn check(reader: &mut Reader, key: &str, name: Option<&str>, models: &[LlmModel]) {
    let Some(name) = name.filter(|name| models.iter().all(|model| model.name != *name)) else { return };
    let problem = if models.is_empty() {
        format!(
            "is {name}, but there is no model; add a [[llm.model]] with name = {name}",
            name = shown(name)
        )
    } else {
        let names = || models.iter().map(|model| model.name.as_str());
        let hint = match known_keys::closest(name, names()) {
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

fn model_name() -> ValueType<String> {
    ValueType { description: "name of a `[[llm.model]]`".to_owned(), ..name() }
}

/// The variable's name; its value is not read yet.
fn api_key() -> ValueType<ApiKey> {
    variable_name().map(
        |variable| ApiKey::Unset { variable },
        |key| match key {
            ApiKey::Unset { variable } => Some(variable),
            ApiKey::None | ApiKey::Set(_) => None,
        },
    )
}

/// Fields that a server or a model needs beside the question, such as a limit on the answer's length.
fn extra_body() -> ValueType<serde_json::Map<String, serde_json::Value>> {
    type Body = serde_json::Map<String, serde_json::Value>;
    const OURS: [&str; 3] = ["messages", "model", "stream"];
    let table = json_table("table of fields that are added to each request");
    let show =
        |fields: &Body| (!fields.is_empty()).then(|| show::table(&serde_json::Value::Object(fields.clone())));
    ValueType::new(table.description.clone(), show, move |raw| {
        let serde_json::Value::Object(fields) = (table.read)(raw)? else { return Ok(Body::new()) };
        let message = |field| match field {
            "stream" => "cannot be set here: set `stream` of the [[llm.model]]",
            _ => "cannot be set here: it is part of every question",
        };
        let ours = OURS.into_iter().filter(|field| fields.contains_key(*field));
        let wrong: Vec<_> = ours.map(|field| (format!(".{field}"), message(field).to_owned())).collect();
        if wrong.is_empty() { Ok(fields) } else { Err(Wrong(wrong)) }
    })
}
