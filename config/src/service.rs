//! The table `[service]`.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    reader::Reader,
    size::{LARGEST_BUFFER, Size},
    table::table,
    value_type::{address, count, file_path, secret, serde_value, size},
};

table! {
    /// The network API of `teammy node`.
    "[service]"
    #[derive(Debug, Clone)]
    pub struct Service {
        /// The address on which the node listens. Without keys (`teammy key create`) whoever reaches it can do everything, so
        /// it is then one of loopback. With port 0 the system chooses the port, which the program prints.
        listen: SocketAddr = address().default("127.0.0.1:7600");
        /// A Unix socket on which the node listens as well. Only its owner can open it.
        socket: Option<PathBuf> = file_path().or_blank().optional().words("none").example("/run/teammy/http.sock");
        /// A file with the certificate chain for TLS, in PEM form. It is read again when it changes.
        tls_certificate: Option<PathBuf> = file_path().or_blank().optional()
            .words("none: HTTP without TLS").example("/etc/teammy/tls.crt");
        /// A file with the private key of that certificate, in PEM form.
        tls_key: Option<PathBuf> = file_path().or_blank().optional().words("none").example("/etc/teammy/tls.key");
        /// A text that is hashed with each key and is not in the database, so that whoever can write to the database cannot
        /// add a key. Nodes that share a database share it; with another one no key of before is valid. Set
        /// `TEAMMY_SERVICE__PEPPER` rather than write it into a file.
        pepper: Option<SecretString> = secret().optional().words("empty").example("3b1f…");
        /// The origins of web pages that may use the API with a key or token, such as `https://app.example.com`. Others, and
        /// all without keys, are rejected.
        origins: Vec<String> = serde_value("a list of origins in quotes").optional()
            .example(serde_json::json!(["https://app.example.com"]));
        /// The most connections at once. Those above are closed at once.
        connections: usize = count(1..=1_000_000).default(20_000);
        /// The most requests of one key that are answered at once, streams included.
        requests_per_key: usize = count(1..=1_000_000).default(10_000);
        /// How many bytes of packets of sources that are not stored wait for a reader that is slow. Beyond that the oldest are
        /// dropped, and a `gap` says how many. It is also about what a stream of all meetings has in memory altogether.
        buffer_bytes: Size = size(Size::kib(1)..=LARGEST_BUFFER).default("1MiB");
    }
}

impl Service {
    /// Checks the rules between keys.
    pub(crate) fn check(&self, reader: &mut Reader) {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => {
                reader.complain_about("service.tls_certificate", "is given, but service.tls_key is not");
            }
            (None, Some(_)) => {
                reader.complain_about("service.tls_key", "is given, but service.tls_certificate is not");
            }
            _ => {}
        }
        for (at, origin) in self.origins.iter().enumerate() {
            let parsed = url::Url::parse(origin).ok().map(|url| url.origin().ascii_serialization());
            if parsed.as_deref() != Some(origin) {
                let problem = format!("is {origin:?}, but takes an origin, such as https://app.example.com");
                reader.complain_about(&format!("service.origins[{at}]"), problem);
            }
        }
    }

    /// The pepper; empty if none is set.
    pub fn pepper(&self) -> &str {
        self.pepper.as_ref().map_or("", |pepper| pepper.expose_secret())
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.listen == other.listen
            && self.socket == other.socket
            && self.tls_certificate == other.tls_certificate
            && self.tls_key == other.tls_key
            && self.pepper() == other.pepper()
            && self.origins == other.origins
            && self.connections == other.connections
            && self.requests_per_key == other.requests_per_key
            && self.buffer_bytes == other.buffer_bytes
    }
}
