use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::{
    DeliveryPolicyConfig, Durability, InstanceConfig, Size, Socket, Source,
    database::{self, Kind},
};

/// Reads no file and no variable, and has a data directory.
fn bare() -> Loader {
    Loader::default().no_file().data_directory("/data")
}

fn toml(text: &str) -> Loader {
    bare().text("teammy.toml", text)
}

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn refused(loader: &Loader) -> String {
    loader.load().unwrap_err().to_string()
}

fn setting(loaded: &Loaded, key: &str) -> (String, String) {
    let found = loaded.settings().into_iter().find(|setting| setting.key == key);
    found.map_or_else(|| panic!("no setting {key}"), |setting| (setting.value, setting.origin))
}

#[test]
fn the_defaults_are_these() {
    let config = Config::default();
    let seconds = Duration::from_secs;
    assert!(config.node.plugin_threads >= 4);
    assert_eq!(config.node.shutdown_deadline, seconds(30));
    assert_eq!(config.database.url, None);
    assert_eq!((config.database.namespace.as_str(), config.database.database.as_str()), ("teammy", "teammy"));
    assert!(config.database.username.is_none() && config.database.password.is_none());
    assert_eq!(config.database.block_cache, Size::mib(64));
    assert_eq!(config.database.memtable, Size::mib(64));
    assert_eq!(config.delivery.batch_packets.get(), 4096);
    assert_eq!(config.delivery.batch_bytes, Size::mib(1));
    assert_eq!(config.delivery.tail_bytes, Size::mib(16));
    assert_eq!(config.delivery.backlog_bytes, Size::mib(16));
    assert_eq!(config.delivery.recent_bytes, Size::mib(1));
    assert_eq!(config.delivery.cursor_interval, seconds(1));
    assert_eq!((config.hooks.deadline, config.hooks.tries), (seconds(60), 3));
    assert_eq!((config.hooks.backoff, config.hooks.backoff_max), (Duration::from_millis(200), seconds(10)));
    assert_eq!(config.meeting.end_deadline, seconds(300));
    assert_eq!((config.restart.intensity, config.restart.within), (5, seconds(60)));
    assert_eq!(
        (config.restart.backoff, config.restart.backoff_max),
        (Duration::from_millis(100), seconds(5))
    );
    assert_eq!(config.limits.packet_bytes, Size::mib(1));
    assert_eq!(
        (&config.llm.default, &config.llm.fast, config.llm.models.as_slice()),
        (&None, &None, &[][..])
    );
    assert_eq!(config.install.manifest, None);
    assert_eq!(config.log.filter, "warn");
    assert_eq!(config.sources, []);
    assert_eq!(config.plugins, None);
}

#[test]
fn a_file_covers_defaults_a_variable_covers_both_an_option_all() {
    let loaded = toml("[hooks]\ntries = 5\ndeadline = \"2s\"\nbackoff = \"1ms\"")
        .env(variables(&[("TEAMMY_HOOKS__TRIES", "7"), ("TEAMMY_DATABASE__URL", "ws://a:1"), ("HOME", "/x")]))
        .set("database.url", "mem://", "option --db")
        .load()
        .unwrap();
    assert_eq!(loaded.config.hooks.tries, 7);
    assert_eq!(loaded.config.hooks.deadline, Duration::from_secs(2));
    assert_eq!(loaded.config.database.url, Some(database::Url::memory()));
    for (key, value, origin) in [
        ("hooks.tries", "7", "environment variable TEAMMY_HOOKS__TRIES"),
        ("hooks.deadline", "\"2s\"", "teammy.toml"),
        ("hooks.backoff_max", "\"10s\"", "default"),
        ("limits.packet_bytes", "\"1MiB\"", "default"),
        ("database.url", "\"mem://\"", "option --db"),
        ("database.username", "\"\"", "default"),
    ] {
        assert_eq!(setting(&loaded, key), (value.to_owned(), origin.to_owned()), "{key}");
    }
}

#[test]
fn without_a_database_url_it_is_in_the_data_directory() {
    let loaded = bare().load().unwrap();
    assert_eq!(
        loaded.config.database.url.as_ref().unwrap().kind(),
        &Kind::Embedded("/data/teammy/db".into())
    );
    assert_eq!(
        setting(&loaded, "database.url"),
        ("\"surrealkv:///data/teammy/db\"".into(), "default".into())
    );
    assert_eq!(toml("[database]\nurl = \"\"").load().unwrap().config, loaded.config);
    assert_eq!(loaded.config.database.effective_url().unwrap(), loaded.config.database.url.unwrap());

    let unusable = Loader::default().no_file().data_directory("/what?");
    let error = unusable.load().unwrap_err();
    assert!(matches!(error, Error::NoDataDirectory(DataDirectoryError::Path(_))), "{error}");
    assert!(error.to_string().contains("set database.url"), "{error}");
    assert!(unusable.set("database.url", "mem://", "option --db").load().is_ok());
}

#[test]
fn the_manifest_is_in_the_data_directory_unless_it_is_said() {
    let loaded = bare().load().unwrap();
    let manifest = "/data/teammy/installed.json";
    assert_eq!(loaded.config.install.manifest, Some(manifest.into()));
    assert_eq!(setting(&loaded, "install.manifest"), (format!("\"{manifest}\""), "default".into()));
    assert_eq!(loaded.config.install.effective_manifest().unwrap(), Path::new(manifest));
    assert_eq!(toml("[install]\nmanifest = \" \"").load().unwrap().config, loaded.config);

    let loaded = toml("[install]\nmanifest = \"a.json\"")
        .env(variables(&[("TEAMMY_INSTALL__MANIFEST", "b/installed.json")]))
        .load()
        .unwrap();
    assert_eq!(loaded.config.install.effective_manifest().unwrap(), Path::new("b/installed.json"));
    let origin = "environment variable TEAMMY_INSTALL__MANIFEST".to_owned();
    assert_eq!(setting(&loaded, "install.manifest"), ("\"b/installed.json\"".into(), origin));
}

#[test]
fn without_a_home_nothing_is_missed_before_it_is_wanted() {
    let loaded = |text: &str| toml(text).read().unwrap();
    let nowhere = || Err(DataDirectoryError::NoHome);
    let mut homeless = loaded("");
    homeless.find_places(nowhere()).unwrap();
    assert_eq!((&homeless.config.install.manifest, &homeless.config.database.url), (&None, &None));
    assert_eq!(setting(&homeless, "install.manifest"), ("\"\"".into(), "default".into()));
    assert_eq!(setting(&homeless, "database.url"), ("\"\"".into(), "default".into()));
    let error = Error::NoDataDirectory(DataDirectoryError::NoHome).to_string();
    assert!(error.contains("set database.url"), "{error}");
    let error = Error::NoManifestDirectory(DataDirectoryError::NoHome).to_string();
    assert!(error.contains("set install.manifest") && error.contains("TEAMMY_INSTALL__MANIFEST"), "{error}");
}

#[test]
fn variables_are_texts_until_a_key_says_otherwise() {
    let loaded = bare()
        .env(variables(&[
            ("TEAMMY_DATABASE__USERNAME", "007"),
            ("TEAMMY_DATABASE__PASSWORD", "123"),
            ("TEAMMY_DATABASE__AUTH_LEVEL", "namespace"),
            ("TEAMMY_DATABASE__NAMESPACE", "true"),
            ("TEAMMY_DATABASE__DATABASE", "[1, {a=2}]"),
            ("TEAMMY_LOG__FILTER", "\"warn\""),
            ("TEAMMY_LIMITS__PACKET_BYTES", "2048"),
            ("TEAMMY_DELIVERY__RECENT_BYTES", "3 KiB"),
            ("TEAMMY_MEETING__END_DEADLINE", "1m 30s"),
            ("TEAMMY_NODE__PLUGIN_THREADS", "9"),
        ]))
        .load()
        .unwrap();
    let database = &loaded.config.database;
    assert_eq!(database.username.as_deref(), Some("007"));
    assert_eq!(database.auth_level, database::AuthLevel::Namespace);
    assert_eq!(database.password.as_ref().unwrap().expose_secret(), "123");
    assert_eq!(database.namespace, "true");
    assert_eq!(database.database, "[1, {a=2}]");
    assert_eq!(loaded.config.log.filter, "\"warn\"");
    assert_eq!(loaded.config.limits.packet_bytes, Size::kib(2));
    assert_eq!(loaded.config.delivery.recent_bytes, Size::kib(3));
    assert_eq!(loaded.config.meeting.end_deadline, Duration::from_secs(90));
    assert_eq!(loaded.config.node.plugin_threads, 9);
}

#[test]
fn wrong_variables_are_named() {
    for (name, value, says) in [
        (
            "TEAMMY_HOOKS__TRIES",
            "many",
            "environment variable TEAMMY_HOOKS__TRIES: hooks.tries is \"many\", but takes a whole number from 1 to 1000",
        ),
        (
            "TEAMMY_HOOK__TRIES",
            "1",
            "environment variable TEAMMY_HOOK__TRIES is unknown; did you mean TEAMMY_HOOKS__TRIES?",
        ),
        (
            "TEAMMY_HOOKS_TRIES",
            "1",
            "environment variable TEAMMY_HOOKS_TRIES is unknown; did you mean TEAMMY_HOOKS__TRIES?",
        ),
        (
            "TEAMMY_hooks__tries",
            "1",
            "environment variable TEAMMY_hooks__tries is unknown; did you mean TEAMMY_HOOKS__TRIES?",
        ),
        (
            "TEAMMY_HOOKS",
            "1",
            "environment variable TEAMMY_HOOKS is unknown; known for [hooks] are: TEAMMY_HOOKS__DEADLINE, \
             TEAMMY_HOOKS__TRIES, TEAMMY_HOOKS__BACKOFF, TEAMMY_HOOKS__BACKOFF_MAX, TEAMMY_HOOKS__WATCHDOG",
        ),
        (
            "TEAMMY_PLUGIN__0__NAME",
            "x",
            "environment variable TEAMMY_PLUGIN__0__NAME cannot be used: lists are written in a file, as [[plugin]] in \
             teammy.toml",
        ),
        (
            "TEAMMY_PLUGINS",
            "[]",
            "environment variable TEAMMY_PLUGINS cannot be used: lists are written in a file, as [[plugin]] in \
             teammy.toml",
        ),
        (
            "TEAMMY_LLM__MODEL",
            "gpt",
            "environment variable TEAMMY_LLM__MODEL cannot be used: lists are written in a file, as [[llm.model]] in \
             teammy.toml",
        ),
        (
            "TEAMMY_LLM__MODELS__0__NAME",
            "gpt",
            "environment variable TEAMMY_LLM__MODELS__0__NAME cannot be used: lists are written in a file, as \
             [[llm.model]] in teammy.toml",
        ),
        (
            "TEAMMY_LLM_MODEL",
            "gpt",
            "environment variable TEAMMY_LLM_MODEL cannot be used: lists are written in a file, as [[llm.model]] in \
             teammy.toml",
        ),
        (
            "TEAMMY_SOURCE__NAME",
            "x",
            "environment variable TEAMMY_SOURCE__NAME cannot be used: lists are written in a file, as [[source]] in \
             teammy.toml",
        ),
        (
            "TEAMMY_LLM__DEFAULTS",
            "gpt",
            "environment variable TEAMMY_LLM__DEFAULTS is unknown; did you mean TEAMMY_LLM__DEFAULT?",
        ),
    ] {
        assert_eq!(refused(&bare().env(variables(&[(name, value)]))), says);
    }
    let option = refused(&bare().set("database.ulr", "mem://", "option --db"));
    assert_eq!(option, "option --db: database.ulr is unknown; did you mean database.url?");
}

#[test]
fn each_wrong_value_says_what_would_be_right() {
    for (text, says) in [
        ("[hooks]\ntries = 0", "hooks.tries is 0, but takes a whole number from 1 to 1000"),
        ("[hooks]\ntries = \"3\"", "hooks.tries is \"3\", but takes a whole number from 1 to 1000"),
        ("[hooks]\ntries = 2.5", "hooks.tries is 2.5, but takes a whole number from 1 to 1000"),
        ("[hooks]\ntries = 2020-01-01", "hooks.tries is a date, but takes a whole number from 1 to 1000"),
        ("[hooks]\ntries = {}", "hooks.tries is a table, but takes a whole number from 1 to 1000"),
        (
            "[hooks]\ndeadline = 60",
            "hooks.deadline is 60, but takes a duration such as \"200ms\", \"60s\" or \"1m 30s\"",
        ),
        ("[hooks]\ndeadline = \"60\"", "hooks.deadline is \"60\", but takes a duration such as"),
        ("[hooks]\ndeadline = \"0s\"", "hooks.deadline is \"0s\", but takes at least 1ms"),
        ("[hooks]\ndeadline = \"9999years\"", "hooks.deadline is \"9999years\", but takes at most 365 days"),
        (
            "[meeting]\nend_deadline = \"soon\"",
            "meeting.end_deadline is \"soon\", but takes a duration such as",
        ),
        ("[restart]\nintensity = -1", "restart.intensity is -1, but takes a whole number from 0 to 1000"),
        ("[restart]\nwithin = \"0s\"", "restart.within is \"0s\", but takes at least 1ms"),
        ("[node]\nplugin_threads = 3", "node.plugin_threads is 3, but takes a whole number from 4 to 1024"),
        ("[node]\nshutdown_deadline = true", "node.shutdown_deadline is true, but takes a duration such as"),
        ("[limits]\npacket_bytes = 0", "limits.packet_bytes is 0, but takes 1B to 4MiB"),
        ("[limits]\npacket_bytes = \"5MiB\"", "limits.packet_bytes is \"5MiB\", but takes 1B to 4MiB"),
        (
            "[limits]\npacket_bytes = -5",
            "limits.packet_bytes is -5, but takes a size such as \"64KiB\" or \"1MiB\"",
        ),
        (
            "[limits]\npacket_bytes = \"1.5MiB\"",
            "limits.packet_bytes is \"1.5MiB\", but takes a size such as",
        ),
        (
            "[delivery]\nbatch_packets = 0",
            "delivery.batch_packets is 0, but takes a whole number from 1 to 65536",
        ),
        ("[delivery]\nbatch_bytes = 1", "delivery.batch_bytes is 1, but takes 1KiB to 1GiB"),
        ("[delivery]\nrecent_bytes = []", "delivery.recent_bytes is a list, but takes a size such as"),
        (
            "[delivery]\ncursor_interval = \"0s\"",
            "delivery.cursor_interval is \"0s\", but takes at least 1ms",
        ),
        ("[database]\nmemtable = \"1KiB\"", "database.memtable is \"1KiB\", but takes 1MiB to 1TiB"),
        (
            "[database]\nnamespace = \" \"",
            "database.namespace is \" \", but takes a text in quotes, which is not empty",
        ),
        ("[database]\nusername = 5", "database.username is 5, but takes a text in quotes"),
        ("[database]\nurl = 5", "database.url is 5, but takes a URL in quotes, such as \"mem://\""),
        (
            "[database]\nurl = \"http://a\"",
            "database.url is \"http://a\": http:// is not one of the forms; write ws:// instead",
        ),
        ("[install]\nmanifest = 5", "install.manifest is 5, but takes a file's path in quotes"),
        ("[install]\nmanifest = \"a/\"", "install.manifest is \"a/\", but takes the path of a file"),
        ("[install]\nmanifest = \"..\"", "install.manifest is \"..\", but takes the path of a file"),
        ("[install]\nmanifest = \"a\\nb\"", "install.manifest is \"a\\nb\", but takes the path of a file"),
        (
            "[install]\nmanifest = \"~/a.json\"",
            "install.manifest is \"~/a.json\": \"~\" is not replaced by the home directory here; write the path out",
        ),
        ("[log]\nfilter = 1", "log.filter is 1, but takes a text in quotes, which is not empty"),
    ] {
        let error = refused(&toml(text));
        assert!(error.starts_with(&format!("teammy.toml: {says}")), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn unknown_keys_are_errors() {
    for (text, says) in [
        ("[hooks]\ntrys = 1", "hooks.trys is unknown; did you mean hooks.tries?"),
        ("[hook]\ntries = 1", "hook is unknown; did you mean hooks?"),
        ("tries = 1", "tries is unknown; did you mean hooks.tries?"),
        ("[[plugins]]\nname = \"x\"", "plugins is unknown; did you mean plugin?"),
        ("hooks = 1", "hooks is 1, but takes a table: [hooks]"),
        ("[[hooks]]\ntries = 1", "hooks is a list, but takes a table: [hooks]"),
        ("[[model]]\nname = \"x\"", "model is unknown; did you mean llm.model?"),
        ("kind = \"x\"", "kind is unknown; did you mean kind in [[plugin]]?"),
        ("\"hooks.tries\" = 1", "hooks.tries is unknown; write it without quotes"),
        ("[plugin]\nname = \"x\"", "plugin is a table, but takes a list of tables: [[plugin]]"),
        ("plugin = [1]", "plugin[0] is 1, but takes a table: [[plugin]]"),
        ("[[plugin]]\nkind = \"x\"", "plugin[0].name is missing; each [[plugin]] needs one"),
        ("[[plugin]]\nname = 5", "plugin[0].name is 5, but takes a text in quotes, which is not empty"),
        ("[[plugin]]\nname = \"x\"\nkin = \"y\"", "plugin.x.kin is unknown; did you mean kind?"),
        (
            "[[plugin]]\nname = \"x\"\nevery = 5",
            "plugin.x.every is unknown; known here are: name, kind, sources, delivery, output, \
             checkpoint_interval, config",
        ),
        (
            "[[plugin]]\nname = \"x\"\nkind = \"\"",
            "plugin.x.kind is \"\", but takes a text in quotes, which is not empty",
        ),
        (
            "[[plugin]]\nname = \"x\"\noutput = \"kept\"",
            "plugin.x.output is \"kept\", but takes \"durable\" or \"volatile\"",
        ),
        ("[[plugin]]\nname = \"x\"\nsources = \"y\"", "plugin.x.sources is \"y\", but takes a table"),
        (
            "[[plugin]]\nname = \"x\"\nsources = { a = 1 }",
            "plugin.x.sources.a is 1, but takes a source's name in quotes",
        ),
        ("[[plugin]]\nname = \"x\"\nconfig = 1", "plugin.x.config is 1, but takes a table"),
        ("[[plugin]]\nname = \"x\"\nconfig = { a = [nan] }", "plugin.x.config.a takes a finite number"),
        ("[[source]]\ndurable = true", "source[0].name is missing; each [[source]] needs one"),
        (
            "[[source]]\nname = \"x\"\ndurable = \"yes\"",
            "source.x.durable is \"yes\", but takes true or false",
        ),
        (
            "[[source]]\nname = \"x\"\nvolatile = true",
            "source.x.volatile is unknown; known here are: name, durable, schema",
        ),
    ] {
        assert_eq!(refused(&toml(text)), format!("teammy.toml: {says}"));
    }
}

#[test]
fn a_variable_that_may_be_anothers_is_ignored_with_a_warning() {
    let others = [
        ("TEAMMY_SERVICE_HOST", "10.0.0.1"),
        ("TEAMMY_PORT", "tcp://10.0.0.1:80"),
        ("TEAMMY_HOME", "hunter2"),
    ];
    let loaded =
        bare().env(variables(&others)).env(variables(&[("TEAMMY_HOOKS__TRIES", "7")])).load().unwrap();
    assert_eq!(loaded.config.hooks.tries, 7);
    let names: Vec<_> = loaded.warnings().iter().map(|warning| warning.names.join(" ")).collect();
    assert_eq!(names, ["TEAMMY_PORT TEAMMY_SERVICE_HOST", "TEAMMY_HOME"]);
    assert!(!format!("{:?}", loaded.warnings()).contains("hunter2"));
    assert!(bare().env(variables(&[("HOME", "/x")])).load().unwrap().warnings().is_empty());
}

#[test]
fn every_mistake_is_reported_and_a_covered_one_too() {
    let loader = toml("hooks = 1\n[limits]\npacket_bytes = 0\n[log]\nfiltr = 1").env(variables(&[
        ("TEAMMY_HOOKS__TRIES", "0"),
        ("TEAMMY_LOG_LEVEL", "1"),
        ("TEAMMY_X", "1"),
    ]));
    let error = refused(&loader);
    let mut lines: Vec<&str> = error.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "environment variable TEAMMY_HOOKS__TRIES: hooks.tries is \"0\", but takes a whole number from 1 to 1000",
            "environment variable TEAMMY_LOG_LEVEL is unknown; did you mean TEAMMY_LOG__FILTER?",
            "teammy.toml: hooks is 1, but takes a table: [hooks]",
            "teammy.toml: limits.packet_bytes is 0, but takes 1B to 4MiB",
            "teammy.toml: log.filtr is unknown; did you mean log.filter?",
        ]
    );
}

#[test]
fn values_must_fit_together() {
    for (text, says) in [
        (
            "[delivery]\ntail_bytes = \"1MiB\"",
            "delivery.tail_bytes is 1MiB, but takes at least 2MiB, twice limits.packet_bytes (1MiB)",
        ),
        (
            "[delivery]\nbacklog_bytes = \"6MiB\"\n[limits]\npacket_bytes = \"4MiB\"",
            "delivery.backlog_bytes is 6MiB, but takes at least 8MiB, twice limits.packet_bytes (4MiB)",
        ),
        (
            "[hooks]\nbackoff_max = \"100ms\"",
            "hooks.backoff_max is 100ms, but takes at least 200ms, which is hooks.backoff",
        ),
        (
            "[restart]\nbackoff_max = \"0s\"",
            "restart.backoff_max is 0s, but takes at least 100ms, which is restart.backoff",
        ),
        ("[database]\nusername = \"a\"", "database.username is given, but database.password is not"),
        ("[database]\npassword = \"a\"", "database.password is given, but database.username is not"),
        (
            "[database]\nusername = \"a\"\npassword = \"a\"\ntoken = \"hunter2\"",
            "database.token is given beside database.username; give a token, or a user and a password",
        ),
        (
            "[database]\nauth_level = \"editor\"",
            "database.auth_level is \"editor\", but takes \"root\", \"namespace\" or \"database\"",
        ),
    ] {
        assert_eq!(refused(&toml(text)), format!("teammy.toml: {says}"));
    }
}

#[test]
fn lists_are_read() {
    let loaded = toml(
        r#"
        [[source]]
        name = "captions-de"
        durable = false
        [[source]]
        name = "captions-fr"

        [[plugin]]
        name = "minutes-de"
        kind = "minutes"
        sources = { transcription = "captions-de" }
        delivery = { transcription = { latest = "/segment" }, chat = "block" }
        output = "volatile"
        [plugin.config]
        every = 5
        share = 0.5
        since = 2024-05-01
        api_key = "hunter2"
        nested = [{ "a b" = true }]

        [[plugin]]
        name = "minutes"
        output = "durable"
        checkpoint_interval = "10s"
        "#,
    )
    .load()
    .unwrap();
    assert_eq!(
        loaded.config.sources,
        [
            Source { name: "captions-de".into(), durable: false, schema: None },
            Source { name: "captions-fr".into(), durable: true, schema: None }
        ]
    );
    let plugins = loaded.config.plugins.as_ref().unwrap();
    assert_eq!(
        plugins[0],
        InstanceConfig {
            name: "minutes-de".into(),
            kind: "minutes".into(),
            sources: [("transcription".into(), "captions-de".into())].into(),
            delivery: [
                ("chat".into(), DeliveryPolicyConfig::Block),
                ("transcription".into(), DeliveryPolicyConfig::Latest("/segment".into())),
            ]
            .into(),
            output: Some(Durability::Volatile),
            checkpoint_interval: None,
            config: serde_json::json!({
                "every": 5, "share": 0.5, "since": "2024-05-01", "api_key": "hunter2", "nested": [{ "a b": true }],
            }),
        }
    );
    assert_eq!((plugins[1].kind.as_str(), plugins[1].config.is_null()), ("minutes", true));
    assert_eq!(plugins[1].output, Some(Durability::Durable));
    assert_eq!(plugins[1].checkpoint_interval, Some(Duration::from_secs(10)));

    for (key, value, origin) in [
        ("source.captions-de.durable", "false", "teammy.toml"),
        ("source.captions-fr.durable", "true", "default"),
        ("plugin.minutes-de.kind", "\"minutes\"", "teammy.toml"),
        ("plugin.minutes-de.sources", "{ transcription = \"captions-de\" }", "teammy.toml"),
        (
            "plugin.minutes-de.delivery",
            "{ chat = \"block\", transcription = { latest = \"/segment\" } }",
            "teammy.toml",
        ),
        ("plugin.minutes-de.output", "\"volatile\"", "teammy.toml"),
        (
            "plugin.minutes-de.config",
            "{ api_key = \"********\", every = 5, nested = [{ \"a b\" = true }], share = 0.5, since = \"2024-05-01\" }",
            "teammy.toml",
        ),
        ("plugin.minutes.kind", "\"minutes\"", "default"),
    ] {
        assert_eq!(setting(&loaded, key), (value.to_owned(), origin.to_owned()), "{key}");
    }
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn a_policy_that_is_none_is_told_with_those_that_are() {
    for policy in ["\"latest\"", "\"drop\"", "{ latest = \"segment\" }", "{ latest = \"/a\", by = 1 }", "3"] {
        let text = format!("[[plugin]]\nname = \"x\"\ndelivery = {{ chat = {policy} }}");
        let error = toml(&text).load().unwrap_err().to_string();
        assert!(error.contains("plugin.x.delivery.chat") && error.contains("\"drop-oldest\""), "{error}");
    }
}

#[test]
fn a_socket_is_a_path_or_off() {
    assert_eq!(toml("").load().unwrap().config.node.socket, None);
    let socket =
        |text: &str| toml(&format!("node.socket = {text}")).load().map(|loaded| loaded.config.node.socket);
    assert_eq!(socket("\"off\"").unwrap(), Some(Socket::Off));
    assert_eq!(socket("\"/run/teammy.sock\"").unwrap(), Some(Socket::At("/run/teammy.sock".into())));
    assert!(socket("\"/run/\"").is_err());
}

#[test]
fn no_plugin_and_an_empty_list_are_not_the_same() {
    assert_eq!(toml("").load().unwrap().config.plugins, None);
    assert_eq!(toml("plugin = []").load().unwrap().config.plugins, Some(Vec::new()));
}

#[test]
fn plugins_of_one_name_both_show() {
    let loaded = toml("[[plugin]]\nname = \"x\"\n[[plugin]]\nname = \"x\"\n[[plugin]]\nname = \"a b\"")
        .load()
        .unwrap();
    assert_eq!(loaded.config.plugins.as_ref().unwrap().len(), 3);
    for key in ["plugin.x.kind", "plugin[1].kind", "plugin.\"a b\".kind"] {
        setting(&loaded, key);
    }
}

#[test]
fn secrets_are_never_printed() {
    let secret = "hunter2";
    for (name, key) in [("PASSWORD", "database.password"), ("TOKEN", "database.token")] {
        let mut pair = variables(&[(&format!("TEAMMY_DATABASE__{name}"), secret)]);
        if name == "PASSWORD" {
            pair.extend(variables(&[("TEAMMY_DATABASE__USERNAME", "root")]));
        }
        let from = bare().env(pair);
        let loaded = from.load().unwrap();
        assert_eq!(setting(&loaded, key).0, "\"********\"");
        for shown in [format!("{from:?}"), format!("{loaded:?}"), format!("{:?}", loaded.settings())] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    for text in [
        "[database]\npassword = \"hunter2\"",
        "[database]\ntoken = [\"hunter2\"]",
        "[database]\npassword = [\"hunter2\"]",
        "[database]\npassword = \"hunter2",
        "[database]\npassword = hunter2",
        "[database]\nurl = \"ws://root:hunter2@host\"",
        "[database]\nurl = \"postgres://root:hunter2@host\"",
    ] {
        let error = toml(text).load().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
    let blanks = toml("[database]\nusername = \"a\"\npassword = \"  \"").load().unwrap();
    assert_eq!(blanks.config.database.password.unwrap().expose_secret(), "  ");
    let error = refused(&toml("[database]\npassword = 123"));
    assert_eq!(error, "teammy.toml: database.password takes a text in quotes");
}

#[test]
fn two_passwords_are_not_equal() {
    let with = |password: &str| {
        Config::from_toml(&format!("[database]\nusername = \"a\"\npassword = \"{password}\"")).unwrap()
    };
    assert_eq!(with("a"), with("a"));
    assert_ne!(with("a"), with("b"));
}

#[test]
fn bad_toml_names_the_line() {
    let error = toml("[hooks]\ntries = 1\nbackoff = = 3").load().unwrap_err();
    assert!(matches!(error, Error::Syntax { line: 3, column: 11, .. }), "{error:?}");
    let shown = error.to_string();
    assert!(shown.starts_with("teammy.toml, line 3, column 11: "), "{shown}");
    assert_eq!(shown.lines().count(), 1);

    let twice = refused(&toml("[hooks]\ntries = 1\ntries = 2"));
    assert!(twice.starts_with("teammy.toml, line 3, ") && twice.contains("duplicate key"), "{twice}");
}

#[test]
fn without_a_file_the_defaults_hold() {
    // Tests run in this crate's folder, which holds no teammy.toml.
    assert_eq!(Loader::default().data_directory("/data").load().unwrap(), bare().load().unwrap());
}

#[test]
fn files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("my.toml");
    fs::write(&path, "[hooks]\ntries = 9").unwrap();
    let loaded = bare().file(&path).load().unwrap();
    assert_eq!(loaded.config.hooks.tries, 9);
    assert_eq!(setting(&loaded, "hooks.tries").1, path.display().to_string());

    fs::write(&path, b"[hooks]\n# \xff\xfe\ntries = 9").unwrap();
    let error = bare().file(&path).load().unwrap_err().to_string();
    assert_eq!(error, format!("{}, line 2: not UTF-8 text; save the file as UTF-8", path.display()));

    let nowhere = directory.path().join("nowhere.toml");
    let error = bare().file(&nowhere).load().unwrap_err();
    assert!(matches!(&error, Error::Missing { path } if *path == nowhere), "{error:?}");
    assert!(error.to_string().starts_with("there is no configuration file "), "{error}");

    let error = bare().file(directory.path()).load().unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error:?}");
}

#[test]
fn what_was_meant_is_found_elsewhere_or_beside_it() {
    let unknown = |path: &str| KnownKeys::new(Config::sections()).unknown(path);
    assert_eq!(unknown("hooks.trys"), "is unknown; did you mean hooks.tries?");
    assert_eq!(unknown("hook"), "is unknown; did you mean hooks?");
    assert_eq!(unknown("plugins"), "is unknown; did you mean plugin?");
    assert_eq!(unknown("intensity"), "is unknown; did you mean restart.intensity?");
    assert_eq!(unknown("hooks.end_deadline"), "is unknown; did you mean meeting.end_deadline?");
    assert!(unknown("llm.key").contains("api_key_env") && unknown("llm.api_key").contains("api_key_env"));
    assert_eq!(unknown("limits.zzz"), "is unknown; known in [limits] are: packet_bytes");
    assert_eq!(
        unknown("zzz"),
        "is unknown; known are: node, database, delivery, hooks, meeting, restart, limits, metrics, service, cluster, llm, install, log, traces, \
         quota, source, plugin"
    );
}

#[test]
fn a_variable_is_named_after_its_key() {
    let unknown_variable = |name: &str| KnownKeys::new(Config::sections()).unknown_variable(name);
    for name in ["TEAMMY_LLM__API_KEY", "TEAMMY_LLM__MODEL__API_KEY"] {
        let said = unknown_variable(name);
        assert!(said.contains("name that variable as api_key_env"), "{said}");
    }
    assert_eq!(crate::section::variable("delivery.batch_bytes"), "TEAMMY_DELIVERY__BATCH_BYTES");
    let said = unknown_variable("TEAMMY_DATABASE_URL");
    assert_eq!(said, "is unknown; did you mean TEAMMY_DATABASE__URL?");
}
