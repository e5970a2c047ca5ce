//! The endpoint for Prometheus, scraped as its server does.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write, stderr},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
};

use teammy::metrics::{DESCRIPTIONS, MetricKind};

use crate::{Place, Ran, said};

/// A replay that takes weeks and serves its metrics. Its stdout stays open, because it ends when that is closed.
struct Serving {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// Starts a replay, and waits until it has printed an output for each of this many packets.
    fn new(place: &Place, packets: usize) -> Self {
        let now = (0..packets).map(|n| said(0, &format!("the deadline {n}")));
        place.file("m.jsonl", now.chain([said(3599, "the last")]).collect::<String>());
        let mut command =
            place.teammy(&["replay", "m.jsonl", "--speed", "0.001x", "--json", "--plugins", "watch-list"]);
        let command = command
            .env("TEAMMY_METRICS__LISTEN", "127.0.0.1:0")
            .env("TEAMMY_NODE__SOCKET", "off")
            .env("TEAMMY_LOG__FILTER", "warn,teammy=info");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the log names the address");
            if line.contains("serving metrics") {
                let (_, rest) = line.split_once("address=").unwrap();
                break rest.split_whitespace().next().unwrap().parse().unwrap();
            }
        };
        // A full pipe would stop the program.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..packets {
            assert!(stdout.read_line(&mut String::new()).unwrap() > 0, "the replay printed a line");
        }
        Self { child, _stdout: stdout, address }
    }

    /// The head and the body of the answer to a request.
    fn request(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn scrape(&self) -> String {
        let (head, body) = self.request("GET", "/metrics");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body
    }
}

/// The samples of a metric: its kind, its help, and its values by the rest of their names with their labels.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads Prometheus's text format, strictly.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let family = Family { help: help.to_owned(), ..Family::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} comes twice");
            name.clone_into(&mut current);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "the type comes after the help");
            kind.clone_into(&mut families.get_mut(name).unwrap().kind);
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                None => (series, ""),
            };
            let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
                let (label, value) = label.split_once('=').unwrap();
                let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                assert!(!value.contains(['"', '\\']), "no name needs to be escaped: {line}");
                (label.to_owned(), value.to_owned())
            });
            let rest = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} comes in {current}"));
            let family = families.get_mut(&current).unwrap();
            family.samples.push((rest.to_owned(), labels.collect(), value.parse().unwrap()));
        }
    }
    families
}

/// The value of a series with these labels.
fn value(family: &Family, rest: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: BTreeMap<_, _> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let is_it = |sample: &&(String, BTreeMap<String, String>, f64)| sample.0 == rest && sample.1 == labels;
    family.samples.iter().find(is_it).map(|sample| sample.2)
}

#[test]
fn prometheus_gets_histograms_help_and_the_lag_of_each_instance() {
    let place = Place::new();
    let serving = Serving::new(&place, 3);
    // Gauges are set by the watchdog, now and then.
    let families = loop {
        let families = parse(&serving.scrape());
        if value(&families["teammy_meetings"], "", &[]) == Some(1.0) {
            break families;
        }
    };
    assert_eq!(families.len(), DESCRIPTIONS.len(), "{:?}", families.keys());
    for metric in DESCRIPTIONS {
        let family = &families[metric.name];
        assert_eq!(family.help, metric.help);
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            other => panic!("{other:?}"),
        };
        assert_eq!(family.kind, kind, "{}", metric.name);
        assert!(!family.samples.is_empty(), "{}", metric.name);
        for (rest, labels, _) in &family.samples {
            let names: Vec<_> = labels.keys().map(String::as_str).filter(|name| *name != "le").collect();
            assert_eq!(names, Vec::from_iter(metric.label), "{}", metric.name);
            let is_part = matches!(rest.as_str(), "_bucket" | "_sum" | "_count");
            assert_eq!(is_part, metric.kind == MetricKind::Histogram, "{}{rest}", metric.name);
        }
    }
    for (name, labels) in
        [("teammy_hook_seconds", &[("instance", "watch-list")][..]), ("teammy_commit_seconds", &[])]
    {
        let buckets: Vec<_> = families[name].samples.iter().filter(|sample| sample.0 == "_bucket").collect();
        let bounds: Vec<f64> = buckets.iter().map(|(_, labels, _)| labels["le"].parse().unwrap()).collect();
        let description = DESCRIPTIONS.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(bounds, [description.buckets, &[f64::INFINITY]].concat());
        assert!(buckets.is_sorted_by_key(|(_, _, count)| *count), "each bucket counts those below it, too");
        let count = value(&families[name], "_count", labels);
        assert!(count > Some(0.0));
        assert_eq!(buckets.last().map(|bucket| bucket.2), count);
    }
    let of = |name: &str, label, is| value(&families[name], "", &[(label, is)]);
    assert!(of("teammy_received_total", "source", "transcription") >= Some(3.0));
    assert!(of("teammy_outputs_total", "instance", "watch-list") >= Some(3.0));
    assert!(of("teammy_lag", "instance", "watch-list").is_some());
    assert!(of("teammy_lag", "instance", "talk-time").is_none(), "the node has no such instance");
}

#[test]
fn nothing_else_is_served() {
    let place = Place::new();
    let serving = Serving::new(&place, 1);
    for path in ["/", "/metrics/", "/metric", "/health", "/metricsx", "/favicon.ico"] {
        let (head, body) = serving.request("GET", path);
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
        assert_eq!(body, "metrics are at /metrics\n");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let (head, _) = serving.request(method, "/metrics");
        assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"), "{method}: {head}");
    }
    let (head, body) = serving.request("GET", "/metrics?x=1");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("teammy_meetings"));
    let (head, body) = serving.request("HEAD", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}: {body}");
}

#[test]
fn curl_and_promtool_agree_where_they_are_installed() {
    let place = Place::new();
    let serving = Serving::new(&place, 1);
    let installed = |program: &str| {
        let is_there = Command::new(program).arg("--version").output().is_ok();
        if !is_there {
            // Written directly, because the test harness hides what `eprintln!` prints.
            let _ = writeln!(stderr(), "skipped: {program} is not installed");
        }
        is_there
    };
    if installed("curl") {
        let url = format!("http://{}", serving.address);
        let curl = |path: &str| {
            Ran::of(
                Command::new("curl").args(["--silent", "--show-error", "--fail"]).arg(format!("{url}{path}")),
            )
        };
        assert_eq!(parse(&curl("/metrics").ends_with(0).stdout).len(), DESCRIPTIONS.len());
        assert!(curl("/").ends_with(22).stderr.contains("404"));
    }
    if installed("promtool") {
        let mut promtool = Command::new("promtool");
        let promtool = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut checking = promtool.stderr(Stdio::piped()).spawn().unwrap();
        checking.stdin.take().unwrap().write_all(serving.scrape().as_bytes()).unwrap();
        let checked = checking.wait_with_output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn an_address_in_use_is_reported_before_anything_starts() {
    let place = Place::new();
    let serving = Serving::new(&place, 1);
    let mut command = place.teammy(&["replay", "m.jsonl", "--plugins", "watch-list"]);
    let taken = serving.address.to_string();
    let ran =
        Ran::of(command.env("TEAMMY_METRICS__LISTEN", &taken).env("TEAMMY_NODE__SOCKET", "off")).ends_with(1);
    assert!(ran.stderr.contains(&format!("cannot serve metrics on {taken} (metrics.listen)")), "{ran:#?}");
}
