//! The table `[cluster]`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{
    reader::Reader,
    size::Size,
    table::table,
    value_type::{ValueType, address, count, duration, file_path, flag, short_duration, size},
};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECONDS_100: Duration = Duration::from_millis(100);

table! {
    /// Several nodes that share a database and divide its meetings among them. When a node ends, the others take its meetings
    /// over.
    "[cluster]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Cluster {
        /// This node's name, different from all others'. A node that starts again under its name gets the same meetings.
        node: Option<String> = node_name().or_blank().optional()
            .words("none: this node is not part of a cluster").example("north-1");
        /// The address on which the node accepts links from other nodes. With port 0 the system chooses the port. A node that
        /// accepts none makes links to those that do.
        listen: Option<SocketAddr> = address().or_blank().optional()
            .words("none: this node accepts no links").example("10.0.0.5:7700");
        /// The host and port at which other nodes reach it. An address that stands for all, such as `0.0.0.0`, needs one.
        advertise: Option<String> = host_and_port().or_blank().optional()
            .words("what `cluster.listen` is").example("north-1.example.com:7700");
        /// How many meetings it has room for. A node with 0 runs none: it is a gateway to the others.
        capacity: u32 = count(0..=1_000_000).default(1000);
        /// How long a node that does not answer keeps its meetings: then others take them over. It renews its lease in the
        /// database six times as often.
        lease: Duration = short_duration(2 * SECOND, 60 * SECOND).default("6s");
        /// From one sign of life on a link to the next.
        heartbeat: Duration = short_duration(MILLISECONDS_100, 60 * SECOND).default("1s");
        /// After how many heartbeats without any sign a link is made anew.
        misses: u32 = count(1..=100).default(3);
        /// How many bytes may be under way on a link that the other node has not taken yet.
        window: Size = size(Size::mib(1)..=Size::mib(256)).default("8MiB");
        /// How many meetings of nodes that have ended it takes over at once.
        takeovers: usize = count(1..=1000).default(8);
        /// How many meetings a minute it hands over by itself while it has more than its share; 0 for none.
        rebalance_per_minute: u32 = count(0..=100_000).default(60);
        /// How long a call waits for a meeting whose node is away until another one has taken it over.
        patience: Duration = duration(Duration::ZERO).default("10s");
        /// A file with this node's certificate for links, in PEM form. `teammy certs` makes all three files.
        certificate: Option<PathBuf> = file_path().or_blank().optional()
            .words("none").example("/etc/teammy/north-1.crt");
        /// A file with the private key of that certificate, in PEM form.
        key: Option<PathBuf> = file_path().or_blank().optional().words("none").example("/etc/teammy/north-1.key");
        /// A file with the certificate of the authority that has signed all nodes' certificates, in PEM form.
        ca: Option<PathBuf> = file_path().or_blank().optional().words("none").example("/etc/teammy/ca.crt");
        /// Links without TLS and certificates, for several nodes on one machine: only on addresses of loopback.
        plaintext: bool = flag().default(false);
    }
}

impl Cluster {
    /// Checks the rules between keys.
    pub(crate) fn check(&self, reader: &mut Reader) {
        const CERTS: &str = "make certificates with `teammy certs`";
        let files = [
            ("cluster.certificate", &self.certificate),
            ("cluster.key", &self.key),
            ("cluster.ca", &self.ca),
        ];
        let given = files.iter().find(|(_, path)| path.is_some());
        let missing = files.iter().find(|(_, path)| path.is_none());
        if let (Some((given, _)), Some((missing, _))) = (given, missing) {
            reader.complain_about(given, format!("is given, but {missing} is not; {CERTS}"));
        }
        if let (Some(_), true) = (given, self.plaintext) {
            reader.complain_about(
                "cluster.plaintext",
                "is true beside cluster.certificate; leave one of them out",
            );
        }
        let Some(listen) = self.listen else {
            if self.advertise.is_some() {
                reader.complain_about("cluster.advertise", "is given, but cluster.listen is not");
            }
            return;
        };
        if self.node.is_none() {
            reader
                .complain_about("cluster.listen", "is given, but cluster.node is not; give this node a name");
        }
        if listen.ip().is_unspecified() && self.advertise.is_none() {
            let problem = format!(
                "is {listen}, which no other node can dial; set cluster.advertise to the host and port at which they reach \
                 this node"
            );
            reader.complain_about("cluster.listen", problem);
        }
        if self.plaintext {
            if !listen.ip().is_loopback() {
                let problem =
                    format!("is true, but cluster.listen is {listen}, which is not of loopback; {CERTS}");
                reader.complain_about("cluster.plaintext", problem);
            } else if let Some(advertise) =
                self.advertise.as_ref().filter(|advertise| !is_loopback(advertise))
            {
                let problem = format!(
                    "is true, but cluster.advertise is {advertise}, which is not of loopback; {CERTS}"
                );
                reader.complain_about("cluster.plaintext", problem);
            }
        } else if given.is_none() {
            let problem = format!(
                "is given without certificates; {CERTS} and set cluster.certificate, cluster.key and cluster.ca, or set \
                 cluster.plaintext = true if all nodes are on this machine"
            );
            reader.complain_about("cluster.listen", problem);
        }
    }
}

/// The host and the port of a text such as `a.example:1`, `1.2.3.4:1` or `[::1]:1`.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']').filter(|host| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()))?
        }
        // Without brackets nobody can say where an address ends.
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    Some((host, port))
}

/// Whether a host and port are surely on this machine: a name other than `localhost` may be anywhere.
fn is_loopback(host_and_port: &str) -> bool {
    split(host_and_port).is_some_and(|(host, _)| {
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// A host and a port that can be dialled.
fn host_and_port() -> ValueType<String> {
    const TAKES: &str =
        "a host and a port in quotes, such as \"north-1.example.com:7700\" or \"[fd00::5]:7700\"";
    ValueType::new("host and port", crate::show::quoted::<String>, |raw| {
        let is_part = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        let is_host = |host: &str| {
            let ip = host.parse::<IpAddr>();
            ip.map_or_else(|_| host.split('.').all(is_part), |ip| !ip.is_unspecified())
        };
        let text = raw.text().map(str::trim);
        let text = text.filter(|text| split(text).is_some_and(|(host, _)| is_host(host)));
        text.map(str::to_owned).ok_or_else(|| raw.but_takes(TAKES))
    })
}

/// A node's name, which is as an instance's.
fn node_name() -> ValueType<String> {
    const TAKES: &str = "a name of 1 to 64 characters of a-z, A-Z, 0-9, '-', '_' and '.', which starts with a letter or digit";
    ValueType::new("name of a node", crate::show::quoted::<String>, |raw| {
        let is_name = |name: &&str| {
            (1..=64).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        raw.text().map(str::trim).filter(is_name).map(str::to_owned).ok_or_else(|| raw.but_takes(TAKES))
    })
}

#[cfg(test)]
mod tests;
