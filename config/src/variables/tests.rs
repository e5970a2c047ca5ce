use super::*;
use crate::sections::Config;

fn judge(name: &str, value: &str) -> VariableUse {
    VariableUse::of(name, value, &KnownKeys::new(Config::sections()))
}

#[test]
fn every_key_has_a_variable() {
    let known = KnownKeys::new(Config::sections());
    for key in known.keys() {
        assert_eq!(judge(&variable(&key), "tcp://10.0.0.1:80"), VariableUse::Key(key));
    }
}

/// The variables of a service with a named port, 80, and an unnamed one, 5353, as Kubernetes sets them.
fn of_service(name: &str) -> Vec<(String, String)> {
    let host = "10.0.0.11";
    let mut variables = vec![
        ("SERVICE_HOST".to_owned(), host.to_owned()),
        ("SERVICE_PORT".to_owned(), "80".to_owned()),
        ("SERVICE_PORT_HTTP".to_owned(), "80".to_owned()),
        ("SERVICE_PORT_WEB_SOCKET".to_owned(), "81".to_owned()),
        ("PORT".to_owned(), format!("tcp://{host}:80")),
    ];
    for (port, protocol) in [(80, "tcp"), (5353, "udp"), (9, "sctp")] {
        let start = format!("PORT_{port}_{}", protocol.to_uppercase());
        variables.extend([
            (start.clone(), format!("{protocol}://{host}:{port}")),
            (format!("{start}_PROTO"), protocol.to_owned()),
            (format!("{start}_PORT"), port.to_string()),
            (format!("{start}_ADDR"), host.to_owned()),
        ]);
    }
    let prefix = name.to_uppercase().replace('-', "_");
    variables.into_iter().map(|(name, value)| (format!("{prefix}_{name}"), value)).collect()
}

#[test]
fn what_kubernetes_sets_for_a_service_is_no_mistake() {
    // Some have the name of a table, of a list, or of a part of such variables.
    for service in [
        "teammy",
        "teammy-chat",
        "teammy-database",
        "teammy-metrics",
        "teammy-node",
        "teammy-plugin",
        "teammy-port",
        "teammy-2",
        "teammy-llm-model",
    ] {
        for (name, value) in of_service(service) {
            assert_eq!(judge(&name, &value), VariableUse::Service(service.to_owned()), "{name}={value}");
        }
    }
}

#[test]
fn what_only_a_user_writes_is_a_mistake() {
    for (name, says) in [
        ("TEAMMY_DELIVERY__BACKLOG_BYTE", "is unknown; did you mean TEAMMY_DELIVERY__BACKLOG_BYTES?"),
        ("TEAMMY_DATABASE_URL", "is unknown; did you mean TEAMMY_DATABASE__URL?"),
        ("TEAMMY_DATABSE__URL", "is unknown; did you mean TEAMMY_DATABASE__URL?"),
        ("TEAMMY_database__url", "is unknown; did you mean TEAMMY_DATABASE__URL?"),
        ("TEAMMY_LOG", "is unknown; known for [log] are: TEAMMY_LOG__FILTER, TEAMMY_LOG__FORMAT"),
        ("TEAMMY_METRICS_PORT", "is unknown; did you mean TEAMMY_METRICS__LISTEN?"),
        ("TEAMMY_METRICS__PORT", "is unknown; did you mean TEAMMY_METRICS__LISTEN?"),
        ("TEAMMY_INSTALL", "is unknown; known for [install] are: TEAMMY_INSTALL__MANIFEST"),
        (
            "TEAMMY_PLUGIN__0__NAME",
            "cannot be used: lists are written in a file, as [[plugin]] in teammy.toml",
        ),
        ("TEAMMY_PLUGINS", "cannot be used: lists are written in a file, as [[plugin]] in teammy.toml"),
    ] {
        assert_eq!(judge(name, "9464"), VariableUse::Mistake(says.to_owned()), "{name}");
    }
}

#[test]
fn what_may_be_anothers_is_ignored() {
    let sets_nothing = "it sets no key; a key such as hooks.tries is set by TEAMMY_HOOKS__TRIES";
    for (name, reason) in [
        ("TEAMMY_PORT", sets_nothing),
        ("TEAMMY_", sets_nothing),
        ("TEAMMY_HOME", sets_nothing),
        ("TEAMMY_X__Y", sets_nothing),
        ("TEAMMY_DATABSE_URL", "it sets no key; did you mean TEAMMY_DATABASE__URL?"),
    ] {
        assert_eq!(judge(name, "9464"), VariableUse::Foreign(reason.to_owned()), "{name}");
    }
}

#[test]
fn a_service_is_warned_of_once() {
    let mut ignored = Ignored::default();
    ignored.other("TEAMMY_HOME", "it sets no key".to_owned());
    ignored.service("teammy".to_owned(), "TEAMMY_PORT");
    ignored.service("teammy-chat".to_owned(), "TEAMMY_CHAT_SERVICE_HOST");
    ignored.service("teammy".to_owned(), "TEAMMY_SERVICE_HOST");
    let warnings: Vec<String> = ignored.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environment variables TEAMMY_PORT, TEAMMY_SERVICE_HOST are ignored: Kubernetes sets such variables for its \
             service teammy; enableServiceLinks: false in the pod's specification turns that off",
            "environment variable TEAMMY_CHAT_SERVICE_HOST is ignored: Kubernetes sets such variables for its service \
             teammy-chat; enableServiceLinks: false in the pod's specification turns that off",
            "environment variable TEAMMY_HOME is ignored: it sets no key",
        ]
    );
}
