//! The configured actions, validated, and found by the names that a model uses.

use std::sync::Arc;

use crate::{
    config::Action,
    text::{comparison_key, one_line},
};

/// Why a list of actions is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`actions` is empty; name at least one action, or leave the list out for the default one")]
    NoActions,
    #[error("`actions` holds an action without a name at position {position}; name it")]
    NoName {
        /// The position in the list, from 1.
        position: usize,
    },
    #[error("`actions` holds {first:?} and {second:?}, which differ only in case or spacing; rename one")]
    DuplicateAction { first: String, second: String },
    #[error("the action {action:?} has a blank `description`; describe when the meeting calls for it")]
    NoDescription { action: String },
    #[error("the action {action:?} has a parameter without a name; name it")]
    NoParameterName { action: String },
    #[error(
        "the action {action:?} has the parameters {first:?} and {second:?}, which differ only in case or spacing; \
         rename one"
    )]
    DuplicateParameter { action: String, first: String, second: String },
    #[error(
        "the parameter {parameter:?} of the action {action:?} has a blank description; describe its value"
    )]
    NoParameterDescription { action: String, parameter: String },
}

/// The configured actions, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Actions(Vec<ConfiguredAction>);

/// A configured action.
#[derive(Debug)]
pub(crate) struct ConfiguredAction {
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
        Self { name: name.trim().into(), description: one_line(description), key: comparison_key(name) }
    }

    /// Whether a model that writes this name means this action or parameter.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.key == comparison_key(name)
    }
}

impl Actions {
    pub(crate) fn new(actions: &[Action]) -> Result<Self, Error> {
        if actions.is_empty() {
            return Err(Error::NoActions);
        }
        let mut configured: Vec<ConfiguredAction> = Vec::with_capacity(actions.len());
        for (index, action) in actions.iter().enumerate() {
            let label = Label::new(&action.name, &action.description);
            if label.key.is_empty() {
                return Err(Error::NoName { position: index + 1 });
            }
            if let Some(first) = configured.iter().position(|other| other.label.key == label.key) {
                let first = actions[first].name.clone();
                return Err(Error::DuplicateAction { first, second: action.name.clone() });
            }
            if label.description.is_empty() {
                return Err(Error::NoDescription { action: action.name.clone() });
            }
            configured.push(ConfiguredAction { label, parameters: parameters(action)? });
        }
        Ok(Self(configured))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ConfiguredAction> {
        self.0.iter()
    }

    /// Returns the action that a model means by this name.
    pub(crate) fn get(&self, name: &str) -> Option<&ConfiguredAction> {
        self.0.iter().find(|action| action.label.matches(name))
    }

    /// Returns the first action, for the example in the prompt.
    pub(crate) fn first(&self) -> &ConfiguredAction {
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
            return Err(Error::DuplicateParameter { action: of(), first, second });
        }
        if label.description.is_empty() {
            return Err(Error::NoParameterDescription { action: of(), parameter: name.clone() });
        }
        labels.push(label);
    }
    Ok(labels)
}
