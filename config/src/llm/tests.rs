use super::*;
use crate::{Config, Error, Loaded, Loader};

fn loader(text: &str) -> Loader {
    Loader::default().text("teammy.toml", text).data_directory("/data")
}

fn with(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    loader(text).env(variables).load().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(text: &str) -> String {
    let error = loader(text).load().unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(!said.contains("hunter2"), "{said}");
    error.to_string()
}

fn settings(loaded: &Loaded) -> Vec<(String, String, String)> {
    let llm = loaded.settings().into_iter().filter(|setting| setting.key.starts_with("llm."));
    llm.map(|setting| (setting.key, setting.value, setting.origin)).collect()
}

const TWO: &str = r#"
    [[llm.model]]
    name = "gpt"
    model = "gpt-4.1"
    api_key_env = "OPENAI_API_KEY"

    [[llm.model]]
    name = " local "
    base_url = "http://localhost:8080/v1/"
"#;

#[test]
fn models_are_read_and_the_first_is_the_default() {
    let llm = with(TWO, &[("OPENAI_API_KEY", " sk-hunter2\n")]).config.llm;
    let [gpt, local] = &llm.models[..] else { panic!("{:?}", llm.models) };
    assert_eq!(
        (gpt.name.as_str(), gpt.model.as_str(), &gpt.base_url),
        ("gpt", "gpt-4.1", &BaseUrl::default())
    );
    assert_eq!(gpt.api_key, ApiKey::Set("sk-hunter2".into()));
    assert_eq!((local.name.as_str(), local.model.as_str()), ("local", "local"));
    assert_eq!(local.base_url, "http://localhost:8080/v1".parse().unwrap());
    assert_eq!((&local.api_key, local.extra_body.len(), local.stream), (&ApiKey::None, 0, true));
    assert_eq!((llm.model("gpt"), llm.model("local"), llm.model("x")), (Some(gpt), Some(local), None));
    assert_eq!((llm.default.as_deref(), llm.fast.as_deref()), (Some("gpt"), Some("gpt")));
}

#[test]
fn a_model_says_what_its_server_takes_and_who_stands_in_for_it() {
    let more = "fallback = [\"local\"]\nconcurrency = 4\nrequests_per_minute = 60\ntemperature = \"omit\"\n\
        max_tokens_field = \"max_completion_tokens\"\nsystem_role = \"user\"\njson = \"prompt\"\nstream = false\n";
    let text = TWO.replacen("model = \"gpt-4.1\"\n", &format!("model = \"gpt-4.1\"\n{more}"), 1);
    let llm =
        with(&format!("[llm]\nfirst_token = \"5s\"\ntotal = \"1m\"\ntries = 2\n{text}"), &[]).config.llm;
    let gpt = llm.model("gpt").unwrap();
    assert_eq!(
        (gpt.fallback.as_slice(), gpt.concurrency, gpt.requests_per_minute),
        (&["local".to_owned()][..], Some(4), Some(60))
    );
    assert_eq!(
        (gpt.temperature, gpt.max_tokens_field),
        (TemperatureMode::Omit, MaxTokensField::MaxCompletionTokens)
    );
    assert_eq!((gpt.system_role, gpt.json, gpt.stream), (SystemRole::User, JsonMode::Prompt, false));
    assert_eq!(
        (llm.first_token, llm.total, llm.tries),
        (Duration::from_secs(5), Some(Duration::from_mins(1)), 2)
    );

    let wrong = refused(&TWO.replacen("model = \"gpt-4.1\"", "fallback = [\"locl\"]", 1));
    assert!(
        wrong.contains("llm.model[0].fallback[0]") && wrong.contains("did you mean \"local\"?"),
        "{wrong}"
    );
    let wrong = refused(&TWO.replacen("model = \"gpt-4.1\"", "json = \"always\"", 1));
    assert!(wrong.contains("\"schema\", \"object\" or \"prompt\""), "{wrong}");
}

#[test]
fn default_and_fast_are_as_given() {
    let names = |text: &str, variables: &[(&str, &str)]| {
        let llm = with(&format!("{text}\n{TWO}"), variables).config.llm;
        (llm.default.unwrap(), llm.fast.unwrap())
    };
    let local = || ("local".to_owned(), "local".to_owned());
    assert_eq!(names("[llm]\nfast = \"local\"", &[]), ("gpt".to_owned(), "local".to_owned()));
    assert_eq!(names("[llm]\ndefault = \" local \"", &[]), local());
    assert_eq!(names("[llm]\ndefault = \"\"\nfast = \" \"", &[]), ("gpt".to_owned(), "gpt".to_owned()));
    assert_eq!(names("", &[("TEAMMY_LLM__DEFAULT", "local")]), local());
    let variables = [("TEAMMY_LLM__DEFAULT", "local"), ("TEAMMY_LLM__FAST", "gpt")];
    assert_eq!(names("[llm]\ndefault = \"gpt\"", &variables), ("local".to_owned(), "gpt".to_owned()));
}

#[test]
fn a_key_is_in_its_variable_and_nowhere_else() {
    let key = |loaded: &Loaded| loaded.config.llm.model("gpt").unwrap().api_key.clone();
    let unset = ApiKey::Unset { variable: "OPENAI_API_KEY".into() };
    assert_eq!(key(&with(TWO, &[("OPENAI_API_KEY", "hunter2")])), ApiKey::Set("hunter2".into()));
    assert_eq!(key(&with(TWO, &[])), unset);
    assert_eq!(key(&with(TWO, &[("OPENAI_API_KEY", " ")])), unset);
    assert_eq!(key(&with(TWO, &[("openai_api_key", "hunter2")])), unset);
    assert_eq!(Config::from_toml(TWO).unwrap().llm.model("gpt").unwrap().api_key, unset);
    let named = |name: &str| with(&TWO.replace("OPENAI_API_KEY", name), &[(name, "hunter2"), ("X", "y")]);
    assert_eq!(key(&named("my_key")), ApiKey::Set("hunter2".into()));
}

#[test]
fn a_variable_handed_in_twice_counts_as_it_was_last() {
    let pair = |value: &str| [("OPENAI_API_KEY".to_owned(), value.to_owned())];
    let loaded = loader(TWO).env(pair("z")).env(pair("a")).load().unwrap();
    assert_eq!(loaded.config.llm.models[0].api_key, ApiKey::Set("a".into()));
}

#[test]
fn keys_are_equal_by_what_they_are() {
    let unset = |variable: &str| ApiKey::Unset { variable: variable.into() };
    let all = [ApiKey::None, unset("A"), unset("B"), ApiKey::Set("a".into()), ApiKey::Set("b".into())];
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            assert_eq!(a == b, i == j, "{a:?} {b:?}");
        }
    }
}

#[test]
fn settings_show_whether_a_key_is_set_but_not_the_key() {
    let file = "teammy.toml";
    let shown = |value: &'static str, origin: &'static str| {
        [
            ("llm.default", "\"gpt\"", "default"),
            ("llm.fast", "\"local\"", file),
            ("llm.model.gpt.name", "\"gpt\"", file),
            ("llm.model.gpt.model", "\"gpt-4.1\"", file),
            ("llm.model.gpt.base_url", "\"https://api.openai.com/v1\"", "default"),
            ("llm.model.gpt.api_key_env", "\"OPENAI_API_KEY\"", file),
            ("llm.model.gpt.api_key", value, origin),
            ("llm.model.local.name", "\"local\"", file),
            ("llm.model.local.model", "\"local\"", "default"),
            ("llm.model.local.base_url", "\"http://localhost:8080/v1\"", file),
        ]
        .map(|(key, value, origin)| (key.to_owned(), value.to_owned(), origin.to_owned()))
    };
    // Those that this is about.
    let settings = |loaded: &Loaded| {
        let others = [
            "embedding",
            "transcription",
            "cache",
            "cache_memory",
            "tenant_label",
            "connect",
            "tokens",
            "token",
            "total",
            "tries",
            "fallback",
            "concurrency",
            "minute",
            "temperature",
            "field",
            "role",
            "json",
            "stream",
        ];
        let is_other = |key: &str| others.iter().any(|other| key.ends_with(other));
        settings(loaded).into_iter().filter(|(key, ..)| !is_other(key)).collect::<Vec<_>>()
    };
    let text = format!("[llm]\nfast = \"local\"\n{TWO}");
    let loaded = with(&text, &[("OPENAI_API_KEY", "hunter2")]);
    assert_eq!(settings(&loaded), shown("\"********\"", "environment variable OPENAI_API_KEY"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let unset = shown("\"\"", "environment variable OPENAI_API_KEY, which is not set");
    assert_eq!(settings(&with(&text, &[])), unset);

    let from = loader(TWO).env([("OPENAI_API_KEY".to_owned(), "hunter2".to_owned())]);
    assert!(!format!("{from:?}").contains("hunter2"));
}

#[test]
fn a_model_is_told_more_than_the_question() {
    let text =
        "[[llm.model]]\nname = \"gpt\"\nextra_body = { max_tokens = 9, stop = [\"x\"], seed.of = 1.5 }";
    let loaded = with(text, &[]);
    let body = serde_json::json!({"max_tokens": 9, "stop": ["x"], "seed": {"of": 1.5}});
    assert_eq!(serde_json::Value::Object(loaded.config.llm.models[0].extra_body.clone()), body);
    let (_, value, _) = settings(&loaded).into_iter().find(|(key, ..)| key.ends_with("extra_body")).unwrap();
    assert!(value.contains("max_tokens = 9"), "{value}");
}

#[test]
fn models_show_by_names_of_any_kind() {
    let text = "[[llm.model]]\nname = \"gpt-4.1\"\n[[llm.model]]\nname = \"a:b \\\" c\"";
    let keys: Vec<String> = settings(&with(text, &[])).into_iter().map(|(key, ..)| key).collect();
    assert!(keys.contains(&"llm.model.\"gpt-4.1\".base_url".to_owned()), "{keys:?}");
    assert!(keys.contains(&"llm.model.\"a:b \\\" c\".base_url".to_owned()), "{keys:?}");
}

fn model(text: &str) -> String {
    format!("[[llm.model]]\nname = \"gpt\"\n{text}")
}

#[track_caller]
fn starts(text: &str, says: &str) {
    let error = refused(text);
    assert!(error.starts_with(&format!("teammy.toml: {says}")), "{text}: {error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn mistakes_say_what_would_be_right() {
    for (text, says) in [
        (
            model("[[llm.model]]\nname = \"gpt\""),
            "llm.model[1].name is \"gpt\", as another [[llm.model]] is; give each",
        ),
        (
            model("[[llm.model]]\nname = \" gpt\""),
            "llm.model[1].name is \"gpt\", as another [[llm.model]] is",
        ),
        (
            model("[llm]\ndefault = \"gtp\""),
            "llm.default is \"gtp\", but no [[llm.model]] has that name; did you mean \"gpt\"?",
        ),
        (
            model("[llm]\nfast = \"mistral\""),
            "llm.fast is \"mistral\", but no [[llm.model]] has that name; there are: \"gpt\"",
        ),
        (
            "[llm]\ndefault = \"gpt\"".to_owned(),
            "llm.default is \"gpt\", but there is no model; add a [[llm.model]] with name = \"gpt\"",
        ),
        (
            "[llm]\nfast = \"gpt\"".to_owned(),
            "llm.fast is \"gpt\", but there is no model; add a [[llm.model]]",
        ),
        ("[llm]\ndefault = 5".to_owned(), "llm.default is 5, but takes a text in quotes"),
        (
            "[llm]\nmodel = \"gpt\"".to_owned(),
            "llm.model is \"gpt\", but takes a list of tables: [[llm.model]]",
        ),
        (
            "[llm.model]\nname = \"gpt\"".to_owned(),
            "llm.model is a table, but takes a list of tables: [[llm.model]]",
        ),
        ("[[llm]]\nname = \"gpt\"".to_owned(), "llm is a list, but takes a table: [llm]"),
        ("[llm]\nmodels = []".to_owned(), "llm.models is unknown; did you mean llm.model?"),
        (
            "[llm]\nbase_url = \"x\"".to_owned(),
            "llm.base_url is unknown; did you mean base_url in [[llm.model]]?",
        ),
        (
            "[llm]\nquick = \"x\"".to_owned(),
            "llm.quick is unknown; known in [llm] are: default, fast, embedding, transcription, connect, first_token, between_tokens, total, tries, cache, cache_memory, tenant_label, model, budget",
        ),
        (
            "[[llm.model]]\nmodel = \"x\"".to_owned(),
            "llm.model[0].name is missing; each [[llm.model]] needs one",
        ),
        (
            "[[llm.model]]\nname = \" \"".to_owned(),
            "llm.model[0].name is \" \", but takes a text in quotes, which is not",
        ),
        (
            model("model = \"\""),
            "llm.model.gpt.model is \"\", but takes a text in quotes, which is not empty",
        ),
        (
            model("url = \"x\""),
            "llm.model.gpt.url is unknown; known here are: name, model, base_url, api_key_env, extra_body, fallback, concurrency",
        ),
        (model("baseurl = \"x\""), "llm.model.gpt.baseurl is unknown; did you mean base_url?"),
        (model("base_url = 5"), "llm.model.gpt.base_url is 5, but takes a URL in quotes"),
        (
            model("extra_body = { model = \"x\" }"),
            "llm.model.gpt.extra_body.model cannot be set here: it is part of every question",
        ),
        (model("extra_body = 5"), "llm.model.gpt.extra_body is 5, but takes a table"),
        (
            model("base_url = \"\""),
            "llm.model.gpt.base_url is \"\": it starts with neither https:// nor http://",
        ),
    ] {
        starts(&text, says);
    }
}

#[test]
fn mistakes_that_may_hold_a_key_show_nothing_of_it() {
    for (text, says) in [
        (
            model("base_url = \"https://user:hunter2@host/v1\""),
            "llm.model.gpt.base_url is \"https://********\": user and password cannot stand in the URL; put the key",
        ),
        (
            model("base_url = \"https://host/v1?key=hunter2\""),
            "llm.model.gpt.base_url is \"https://********\": parameters after \"?\" cannot be used",
        ),
        (
            model("base_url = \"user:hunter2@host\""),
            "llm.model.gpt.base_url is \"********\": it starts with neither",
        ),
        (
            model("api_key_env = \"sk-hunter2\""),
            "llm.model.gpt.api_key_env takes the name of the environment variable",
        ),
        (
            model("api_key_env = [\"hunter2\"]"),
            "llm.model.gpt.api_key_env takes the name of the environment variable",
        ),
        (model("api_key_env = \"\""), "llm.model.gpt.api_key_env takes the name of the environment variable"),
        (
            model("api_key = \"sk-hunter2\""),
            "llm.model.gpt.api_key is unknown; an API key does not belong in a file: put it into an environment \
             variable, and name that variable as api_key_env = \"OPENAI_API_KEY\"",
        ),
        (
            model("token = \"hunter2\""),
            "llm.model.gpt.token is unknown; an API key does not belong in a file",
        ),
        (
            model("api-key = \"hunter2\""),
            "llm.model.gpt.api-key is unknown; an API key does not belong in a file",
        ),
        (
            "[llm]\napi_key = \"hunter2\"".to_owned(),
            "llm.api_key is unknown; an API key does not belong in a file: put it into an environment variable, and name \
             that variable as api_key_env = \"OPENAI_API_KEY\" in [[llm.model]]",
        ),
    ] {
        starts(&text, says);
    }
}

#[test]
fn a_wrong_name_is_reported_as_who_said_it() {
    let variables = [("TEAMMY_LLM__FAST".to_owned(), "lokal".to_owned())];
    let error = loader(TWO).env(variables).load().unwrap_err().to_string();
    let says = "llm.fast is \"lokal\", but no [[llm.model]] has that name; did you mean \"local\"?";
    assert_eq!(error, format!("environment variable TEAMMY_LLM__FAST: {says}"));
}

#[test]
fn all_mistakes_are_found_and_none_that_only_follows_from_another() {
    let text =
        "[llm]\ndefault = \"a\"\nfast = \"b\"\n[[llm.model]]\nname = \"gpt\"\nbase_url = \"x\"\nmodel = 1";
    let error = loader(text).load().unwrap_err();
    let Error::Invalid(problems) = &error else { panic!("{error}") };
    let mut keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["llm.default", "llm.fast", "llm.model.gpt.base_url", "llm.model.gpt.model"]);

    // A mistake hides the name of a model, so `default` may be right.
    for models in ["model = \"gpt\"", "model = [1]", "[[llm.model]]\nnam = \"gpt\""] {
        let error = refused(&format!("[llm]\ndefault = \"gpt\"\n{models}"));
        assert!(!error.contains("llm.default"), "{error}");
    }
}

#[test]
fn prices_are_whole_billionths_for_a_token() {
    let toml = "[[llm.model]]\nname = \"m\"\nprice = [{ above = 200_000, input = 2.5, output = 15 }, { input = 1.25, cached_input = 0.125, output = 10 }]";
    let config = Config::from_toml(toml).unwrap();
    let prices: Vec<_> = config.llm.models[0]
        .price
        .iter()
        .map(|price| (price.above, price.input, price.cached_input, price.output))
        .collect();
    assert_eq!(prices, [(0, 1250, 125, 10_000), (200_000, 2500, 2500, 15_000)]);
    for (price, problem) in [
        ("[{ input = -1 }]", "no price from 0"),
        ("[{ output = 1 }]", "has no input"),
        ("[{ inptu = 1 }]", "has inptu, but takes above, input, cached_input, output"),
        ("[{ above = 5, input = 1 }]", "needs one price without above"),
        ("[{ input = 1 }, { input = 2 }]", "a different above"),
        ("[3]", "[0] takes a table"),
        ("3", "takes a list of tables"),
    ] {
        let error = Config::from_toml(&format!("[[llm.model]]\nname = \"m\"\nprice = {price}")).unwrap_err();
        assert!(error.to_string().contains(problem), "{price}: {error}");
    }
}

#[test]
fn a_budget_knows_how_long_an_answer_can_be() {
    use AnswerLimit::{Asked, Fixed, Unknown};
    let omit = "max_tokens_field = \"omit\"";
    for (model, limit, field) in [
        ("", Asked(None), Some("max_tokens")),
        ("max_tokens = 9", Asked(Some(9)), Some("max_tokens")),
        ("max_tokens_field = \"max_completion_tokens\"", Asked(None), Some("max_completion_tokens")),
        ("max_tokens = 9\nextra_body = { max_tokens = 32000 }", Fixed(32_000), None),
        ("extra_body = { max_completion_tokens = 1000 }", Fixed(1000), None),
        ("extra_body = { max_completion_tokens = 1000, max_tokens = 2000 }", Fixed(2000), None),
        ("extra_body = { top_k = 5 }", Asked(None), Some("max_tokens")),
        ("max_tokens = 9\nextra_body = { max_tokens = -1 }", Fixed(9), None),
        ("extra_body = { max_tokens = -1 }", Unknown, None),
        ("extra_body = { max_tokens = 0 }", Unknown, None),
        ("extra_body = { max_tokens = 5, max_completion_tokens = \"many\" }", Unknown, None),
        (omit, Unknown, None),
        (&format!("{omit}\nmax_tokens = 9"), Fixed(9), None),
        (&format!("{omit}\nextra_body = {{ max_tokens = 7 }}"), Fixed(7), None),
    ] {
        let text = format!("[[llm.model]]\nname = \"m\"\n{model}\n");
        let config = Config::from_toml(&text).unwrap();
        let found = &config.llm.models[0];
        assert_eq!((found.answer_limit(), found.limit_field()), (limit, field), "{model}");
        let with_budget = Config::from_toml(&format!("{text}[[llm.budget]]\nname = \"b\"\ntokens = 1"));
        match with_budget {
            Ok(_) => assert_ne!(limit, Unknown, "{model}"),
            Err(error) => {
                assert_eq!(limit, Unknown, "{model}");
                let says = "llm.budget.b.tokens is given, but nothing says how long an answer of [[llm.model]] \"m\" \
                            can be: set its `max_tokens`";
                assert!(error.to_string().contains(says), "{model}: {error}");
            }
        }
    }
    let free = "price = [{ input = 1 }]\nmax_tokens_field = \"omit\"";
    let text =
        |budget: &str| format!("[[llm.model]]\nname = \"m\"\n{free}\n[[llm.budget]]\nname = \"b\"\n{budget}");
    Config::from_toml(&text("usd = 1.0")).expect("its answers cost nothing");
    Config::from_toml(&text("usd = 1.0\ntokens = 5")).unwrap_err();
}

#[test]
fn a_budget_limits_something_that_is_counted() {
    let of = |model: &str, budget: &str| {
        Config::from_toml(&format!("[[llm.model]]\nname = \"m\"\n{model}\n[[llm.budget]]\n{budget}"))
    };
    let config = of("price = [{ input = 1 }]", "name = \"b\"\nper = \"tenant\"\nusd = 2.5").unwrap();
    let budget = &config.llm.budgets[0];
    assert_eq!((budget.per, budget.window), (BudgetScope::Tenant, BudgetWindow::Day));
    assert_eq!((budget.usd.unwrap().nanos, budget.tokens), (2_500_000_000, None));
    for (model, budget, problem) in [
        ("", "name = \"b\"", "a budget needs one of them"),
        ("", "name = \"b\"\nusd = 1", "[[llm.model]] \"m\" has no price"),
        (
            "",
            "name = \"b\"\ntokens = 1\nwindow = \"meeting\"",
            "which is for budgets per \"meeting\" or \"instance\"",
        ),
        ("", "tokens = 1", "name is missing"),
        ("price = [{ input = 1 }]", "name = \"b\"\nusd = -1", "takes a sum in dollars"),
        ("", "name = \"b\"\ntokens = 1\n[[llm.budget]]\nname = \"b\"\ntokens = 2", "give each its own"),
    ] {
        let error = of(model, budget).unwrap_err();
        assert!(error.to_string().contains(problem), "{budget}: {error}");
    }
}
