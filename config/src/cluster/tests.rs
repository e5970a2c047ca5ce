use super::*;
use crate::{Config, Loader};

fn read(text: &str) -> Result<Cluster, String> {
    Config::from_toml(&format!("[cluster]\n{text}"))
        .map(|config| config.cluster)
        .map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str) -> String {
    let error = read(text).unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
    error.strip_prefix("configuration: cluster.").unwrap_or_else(|| panic!("{error}")).to_owned()
}

const FILES: &str = "certificate = \"a.crt\"\nkey = \"a.key\"\nca = \"ca.crt\"\n";

#[test]
fn by_default_a_node_is_alone() {
    let cluster = Config::default().cluster;
    assert_eq!((&cluster.node, cluster.listen, &cluster.advertise), (&None, None, &None));
    assert_eq!((&cluster.certificate, &cluster.key, &cluster.ca), (&None, &None, &None));
    assert_eq!((cluster.capacity, cluster.takeovers, cluster.rebalance_per_minute), (1000, 8, 60));
    assert_eq!((cluster.lease, cluster.heartbeat, cluster.misses), (6 * SECOND, SECOND, 3));
    assert_eq!((cluster.window, cluster.patience, cluster.plaintext), (Size::mib(8), 10 * SECOND, false));
}

#[test]
fn nodes_with_certificates_listen_anywhere_and_say_where_they_are() {
    let at = |text: &str| read(&format!("node = \"north-1.a_b\"\n{FILES}{text}"));
    let cluster = at("listen = \"10.0.0.5:7700\"").unwrap();
    assert_eq!((cluster.node.as_deref(), cluster.advertise), (Some("north-1.a_b"), None));
    assert_eq!(cluster.ca, Some("ca.crt".into()));
    for advertise in ["north.example.com:7700", "north:1", "10.0.0.5:65535", "[fd00::5]:7700"] {
        let cluster = at(&format!("listen = \"0.0.0.0:7700\"\nadvertise = \"{advertise}\"")).unwrap();
        assert_eq!(cluster.advertise.as_deref(), Some(advertise));
    }
    // A gateway makes links, and accepts none.
    assert_eq!(at("capacity = 0").unwrap().capacity, 0);
    for listen in ["0.0.0.0:7700", "[::]:7700"] {
        let error = at(&format!("listen = \"{listen}\"")).unwrap_err();
        let says = format!(
            "cluster.listen is {listen}, which no other node can dial; set cluster.advertise to the host and port at which they \
             reach this node"
        );
        assert_eq!(error, format!("configuration: {says}"));
    }
}

#[test]
fn without_certificates_a_node_listens_on_loopback_alone_and_only_if_it_is_told_to() {
    let plain = "node = \"a\"\nplaintext = true\n";
    for more in [
        "",
        "listen = \"127.0.0.1:7700\"",
        "listen = \"[::1]:0\"",
        "listen = \"127.0.0.1:7700\"\nadvertise = \"localhost:7700\"",
        "listen = \"127.0.0.1:7700\"\nadvertise = \"[::1]:7700\"",
    ] {
        assert!(read(&format!("{plain}{more}")).unwrap().plaintext, "{more}");
    }
    let certs = "make certificates with `teammy certs`";
    for (text, says) in [
        (
            "node = \"a\"\nlisten = \"127.0.0.1:7700\"".to_owned(),
            format!(
                "listen is given without certificates; {certs} and set cluster.certificate, cluster.key and cluster.ca, or set \
                     cluster.plaintext = true if all nodes are on this machine"
            ),
        ),
        (
            format!("{plain}listen = \"10.0.0.5:7700\""),
            format!(
                "plaintext is true, but cluster.listen is 10.0.0.5:7700, which is not of loopback; {certs}"
            ),
        ),
        (
            format!("{plain}listen = \"127.0.0.1:7700\"\nadvertise = \"north:7700\""),
            format!(
                "plaintext is true, but cluster.advertise is north:7700, which is not of loopback; {certs}"
            ),
        ),
        (
            format!("{plain}{FILES}"),
            "plaintext is true beside cluster.certificate; leave one of them out".to_owned(),
        ),
    ] {
        assert_eq!(refused(&text), says, "{text}");
    }
}

#[test]
fn all_three_files_are_given_or_none() {
    for (given, says) in [
        (&["certificate"][..], "certificate is given, but cluster.key is not"),
        (&["certificate", "key"], "certificate is given, but cluster.ca is not"),
        (&["certificate", "ca"], "certificate is given, but cluster.key is not"),
        (&["key"], "key is given, but cluster.certificate is not"),
        (&["key", "ca"], "key is given, but cluster.certificate is not"),
        (&["ca"], "ca is given, but cluster.certificate is not"),
    ] {
        let lines: Vec<String> = given.iter().map(|name| format!("{name} = \"x\"")).collect();
        assert_eq!(refused(&lines.join("\n")), format!("{says}; make certificates with `teammy certs`"));
    }
}

#[test]
fn a_node_that_listens_has_a_name_and_one_that_does_not_advertises_nothing() {
    let error = refused("plaintext = true\nlisten = \"127.0.0.1:7700\"");
    assert_eq!(error, "listen is given, but cluster.node is not; give this node a name");
    let error = refused("node = \"a\"\nadvertise = \"a:1\"");
    assert_eq!(error, "advertise is given, but cluster.listen is not");
}

#[test]
fn names_hosts_and_durations_are_checked() {
    for name in ["-a", "a b", "ä", "a/b", &"x".repeat(65)] {
        let error = refused(&format!("node = \"{name}\""));
        assert!(error.contains("but takes a name of 1 to 64 characters"), "{error}");
    }
    assert_eq!(read("node = \" \"").unwrap().node, None);
    for advertise in [
        "north",
        "north:0",
        "north:65536",
        ":7700",
        "a b:1",
        "a..b:1",
        "fd00::5:7700",
        "0.0.0.0:1",
        "[::]:1",
        "[north]:1",
        "https://a:1",
    ] {
        let error = refused(&format!("advertise = \"{advertise}\""));
        assert!(error.contains("but takes a host and a port in quotes, such as"), "{error}");
    }
    for (text, says) in [
        ("lease = \"1s\"", "lease is \"1s\", but takes at least 2s"),
        ("lease = \"61s\"", "lease is \"61s\", but takes at most 1m"),
        ("capacity = 1000001", "capacity is 1000001, but takes a whole number from 0 to 1000000"),
        ("window = \"1KiB\"", "window is \"1KiB\", but takes 1MiB to 256MiB"),
        ("plaintext = \"true\"", "plaintext is \"true\", but takes true or false"),
        (
            "listen = \"north:1\"",
            "listen is \"north:1\", but takes an address and a port in quotes, such as \"127.0.0.1:9464\"",
        ),
    ] {
        assert_eq!(refused(text), says);
    }
}

#[test]
fn variables_set_a_node() {
    let variables = [
        ("NODE", "a"),
        ("LISTEN", "127.0.0.1:7700"),
        ("PLAINTEXT", "true"),
        ("CAPACITY", "7"),
        ("LEASE", "3s"),
    ];
    let variables = variables.map(|(name, value)| (format!("TEAMMY_CLUSTER__{name}"), value.to_owned()));
    let loader = Loader::default().no_file().data_directory("/data");
    let cluster = loader.clone().env(variables).load().unwrap().config.cluster;
    assert_eq!((cluster.node.as_deref(), cluster.plaintext), (Some("a"), true));
    assert_eq!((cluster.capacity, cluster.lease), (7, 3 * SECOND));
    let error =
        loader.env([("TEAMMY_CLUSTER__PLAINTEXT".into(), "yes".into())]).load().unwrap_err().to_string();
    assert!(error.ends_with("cluster.plaintext is \"yes\", but takes true or false"), "{error}");
}
