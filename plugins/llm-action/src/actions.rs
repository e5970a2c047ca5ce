//! The possible actions, checked and prepared for being named by a model.

use std::sync::Arc;

use crate::{config::Action, key, one_line};

/// Why a list of actions cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`actions` is empty; name at least one action, or leave the list out for the default one")]
    NoActions,
    #[error("`actions` holds one without a name in place {place}; give it one")]
    NoName {
        /// Its place in the list, from 1.
        place: usize,
    },
    #[error(
        "`actions` holds {first:?} and {second:?}, which are the same but for case and spacing; rename one"
    )]
    Twice { first: String, second: String },
    #[error("the action {action:?} has a blank `description`; say when it is called for")]
    NoDescription { action: String },
    #[error("the action {action:?} has a parameter without a name; give it one")]
    NoParameterName { action: String },
    #[error(
        "the action {action:?} has the parameters {first:?} and {second:?}, which are the same but for case and spacing; \
         rename one"
    )]
    ParameterTwice { action: String, first: String, second: String },
    #[error(
        "the parameter {parameter:?} of the action {action:?} has a blank description; say what it holds"
    )]
    NoParameterDescription { action: String, parameter: String },
}

/// The possible actions, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Actions(Vec<Possible>);

/// A possible action.
#[derive(Debug)]
pub(crate) struct Possible {
    pub(crate) label: Label,
    pub(crate) parameters: Vec<Label>,
}

/// The name and the description of an action or a parameter.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) name: Arc<str>,
    pub(crate) description: String,
    key: String,
}

impl Label {
    fn new(name: &str, description: &str) -> Self {
        Self { name: name.trim().into(), description: one_line(description), key: key(name) }
    }

    /// Whether a model that says this means it.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.key == key(name)
    }
}

impl Actions {
    pub(crate) fn new(actions: &[Action]) -> Result<Self, Error> {
        if actions.is_empty() {
            return Err(Error::NoActions);
        }
        let mut possible: Vec<Possible> = Vec::with_capacity(actions.len());
        for (index, action) in actions.iter().enumerate() {
            let label = Label::new(&action.name, &action.description);
            if label.key.is_empty() {
                return Err(Error::NoName { place: index + 1 });
            }
            if let Some(first) = possible.iter().position(|other| other.label.key == label.key) {
                let first = actions[first].name.clone();
                return Err(Error::Twice { first, second: action.name.clone() });
            }
            if label.description.is_empty() {
                return Err(Error::NoDescription { action: action.name.clone() });
            }
            possible.push(Possible { label, parameters: parameters(action)? });
        }
        Ok(Self(possible))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Possible> {
        self.0.iter()
    }

    /// The action that a model calls by this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Possible> {
        self.0.iter().find(|action| action.label.is_called(name))
    }

    /// The first action, for an example.
    pub(crate) fn first(&self) -> &Possible {
        self.0.first().expect("invariant: there is at least one action")
    }
}

fn parameters(action: &Action) -> Result<Vec<Label>, Error> {
    let mut labels: Vec<Label> = Vec::with_capacity(action.parameters.len());
    let of = || action.name.clone();
    for (name, description) in &action.parameters {
        let label = Label::new(name, description);
        if label.key.is_empty() {
            return Err(Error::NoParameterName { action: of() });
        }
        if let Some(first) = labels.iter().find(|other| other.key == label.key) {
            let (first, second) = (first.name.to_string(), name.clone());
            return Err(Error::ParameterTwice { action: of(), first, second });
        }
        if label.description.is_empty() {
            return Err(Error::NoParameterDescription { action: of(), parameter: name.clone() });
        }
        labels.push(label);
    }
    Ok(labels)
}
