//! What becomes of a variable that starts with `TEAMMY_`.
//!
//! One that only a user of Teammy would write sets a key, or is a mistake: a typing error must not leave a
//! default in place. But others write such variables, too. Kubernetes gives each container a set of them for
//! each service of its namespace, so a service named `teammy` must not keep Teammy from starting. Therefore a
//! variable that may be another's is ignored, with a warning.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use crate::{
    known_keys::{KnownKeys, closest},
    section::{VARIABLE_PREFIX, variable},
    show,
};

/// Environment variables that start with `TEAMMY_` and were ignored, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnoredVariables {
    /// Their names, in order.
    pub names: Vec<String>,
    /// Why, and what to do about it.
    pub reason: String,
}

impl fmt::Display for IgnoredVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, reason } = self;
        let names: Vec<String> = names.iter().map(|name| show::cut(name)).collect();
        match names.as_slice() {
            [name] => write!(f, "environment variable {name} is ignored: {reason}"),
            names => write!(f, "environment variables {} are ignored: {reason}", names.join(", ")),
        }
    }
}

/// What a variable is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum VariableUse {
    /// It sets this key.
    Key(String),
    /// Only a user of Teammy would write it, and it sets no key; the message says what would be right.
    Mistake(String),
    /// Kubernetes made it for this service.
    Service(String),
    /// It may be another program's; the words say why it is ignored.
    Foreign(String),
}

impl VariableUse {
    /// Judges a variable that starts with `TEAMMY_`.
    pub(crate) fn of(name: &str, value: &str, known: &KnownKeys) -> Self {
        if let Some(key) = known.keys().find(|key| variable(key) == name) {
            return Self::Key(key);
        }
        if let Some(service) = kubernetes_service(name, value) {
            return Self::Service(service);
        }
        let rest = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name).to_lowercase();
        let first = rest.split('_').next().unwrap_or_default();
        let variables: Vec<String> = known.keys().map(|key| variable(&key)).collect();
        let meant = closest(name, variables.iter().map(String::as_str));
        // Nobody else joins words with two underscores, so a name like a key's is a misspelt key.
        if known.is_section(first) || (rest.contains("__") && meant.is_some()) {
            return Self::Mistake(known.unknown_variable(name));
        }
        let hint = match meant {
            Some(meant) => format!("did you mean {meant}?"),
            None => "a key such as hooks.tries is set by TEAMMY_HOOKS__TRIES".to_owned(),
        };
        Self::Foreign(format!("it sets no key; {hint}"))
    }
}

/// Collects the variables that are ignored, those of a service in one warning.
#[derive(Default)]
pub(crate) struct Ignored {
    services: BTreeMap<String, Vec<String>>,
    others: Vec<IgnoredVariables>,
}

impl Ignored {
    pub(crate) fn service(&mut self, service: String, name: &str) {
        self.services.entry(service).or_default().push(name.to_owned());
    }

    pub(crate) fn other(&mut self, name: &str, reason: String) {
        self.others.push(IgnoredVariables { names: vec![name.to_owned()], reason });
    }

    pub(crate) fn warnings(self) -> Vec<IgnoredVariables> {
        let services = self.services.into_iter().map(|(service, names)| IgnoredVariables {
            names,
            reason: format!(
                "Kubernetes sets such variables for its service {}; enableServiceLinks: false in the pod's \
                 specification turns that off",
                show::cut(&service)
            ),
        });
        services.chain(self.others).collect()
    }
}

/// The service for which Kubernetes made a variable, if it looks like one of these; Docker's links have the
/// same names. For port 80 of service `chat`:
///
/// `CHAT_SERVICE_HOST`, `CHAT_SERVICE_PORT`, `CHAT_SERVICE_PORT_HTTP` (if the port is named), `CHAT_PORT`,
/// `CHAT_PORT_80_TCP`, and that with `_PROTO`, `_PORT` and `_ADDR`.
///
/// See <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
fn kubernetes_service(name: &str, value: &str) -> Option<String> {
    let is_name = |text: &str| {
        let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        !text.is_empty() && text.chars().all(is_part)
    };
    if !is_name(name) {
        return None;
    }
    let service = if let Some(service) = name.strip_suffix("_SERVICE_HOST") {
        service
    } else if let Some((service, port)) = name.rsplit_once("_SERVICE_PORT")
        && (port.is_empty() || port.strip_prefix('_').is_some_and(is_name))
    {
        service
    } else if let Some((service, port)) = name.rsplit_once("_PORT_")
        && is_port(port)
    {
        service
    } else if let Some(service) = name.strip_suffix("_PORT")
        && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme))
    {
        // Its value tells it from one that a person wrote.
        service
    } else {
        return None;
    };
    // The prefix is a service's name only if it is whole: `TEAMMY`, or `TEAMMY_` and more.
    (service == "TEAMMY" || service.starts_with(VARIABLE_PREFIX))
        .then(|| service.to_lowercase().replace('_', "-"))
}

/// `80_TCP`, `80_TCP_ADDR`.
fn is_port(text: &str) -> bool {
    let mut parts = text.split('_');
    let number = parts.next().unwrap_or_default();
    !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit())
        && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
        && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
        && parts.next().is_none()
}
