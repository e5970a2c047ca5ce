//! Selects the instances that a replay runs.
//!
//! `--plugins` names instances, or plugins without an instance in the configuration: such a plugin gets one
//! instance, with defaults. The node gets these instances and the instances whose outputs they take, and no
//! others: a mistake in the configuration of an unrelated instance does not matter. An instance that is there
//! only for its outputs, so that the source exists, does not take part in the meeting.

use std::collections::BTreeSet;

use teammy::{
    Factory, Name,
    config::{Config, InstanceConfig},
    graph::{Bundle, Graph, closest},
    install::Manifest,
    node,
};

/// Why instances cannot be selected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no plugin {wanted:?}{}", hint(.meant.as_deref(), .there))]
    Unknown { wanted: String, meant: Option<String>, there: Vec<String> },
    #[error("there is no instance {kind}; instances of that plugin are called {}", .instances.join(", "))]
    OtherName { kind: String, instances: Vec<String> },
}

fn hint(meant: Option<&str>, there: &[String]) -> String {
    match meant {
        Some(meant) => format!("; did you mean {meant}?"),
        None if there.is_empty() => "; there are none in this build".to_owned(),
        None => format!("; there are {}", there.join(", ")),
    }
}

/// The instances of a replay.
#[derive(Debug)]
pub(crate) struct Selection {
    /// The configuration, with the instances that the node gets.
    pub(crate) config: Config,
    /// The instances that take part; `None` stands for all.
    pub(crate) instances: Option<Vec<String>>,
    /// What a user should know about the selection.
    pub(crate) notes: Vec<String>,
}

/// Reduces a configuration to the `wanted` instances and those whose outputs they take.
pub(crate) fn select(
    mut config: Config,
    wanted: Option<&[String]>,
    bundle: &Bundle,
    installed: &Manifest,
) -> Result<Selection, Error> {
    let Some(wanted) = wanted else { return Ok(Selection { config, instances: None, notes: Vec::new() }) };
    let mut there = if let Some(plugins) = config.plugins.take() {
        plugins
    } else {
        let plugins = bundle.iter().filter(|factory| factory.as_host().is_none());
        plugins.flat_map(|factory| with_defaults(factory.name(), factory.kind())).collect()
    };
    for wanted in wanted {
        if there.iter().any(|plugin| plugin.name == *wanted) {
            continue;
        }
        let factory =
            bundle.iter().find(|factory| [factory.kind(), factory.name()].contains(&wanted.as_str()));
        let (name, kind) = factory.map_or((wanted.as_str(), wanted.as_str()), |it| (it.name(), it.kind()));
        if !bundle.kinds().any(|known| known == kind) {
            let names = there.iter().map(|plugin| plugin.name.as_str());
            let names: BTreeSet<&str> = names.chain(bundle.kinds()).collect();
            let meant = closest(wanted, names.iter().copied()).map(str::to_owned);
            let there = names.into_iter().map(str::to_owned).collect();
            return Err(Error::Unknown { wanted: shown(wanted), meant, there });
        }
        let of_kind = there.iter().filter(|plugin| plugin.kind == kind);
        let instances: Vec<String> = of_kind.map(|plugin| plugin.name.clone()).collect();
        if !instances.is_empty() {
            return Err(Error::OtherName { kind: wanted.clone(), instances });
        }
        there.extend(with_defaults(name, kind));
    }

    let mut notes = Vec::new();
    let mut needed: BTreeSet<String> = wanted.iter().cloned().collect();
    let mut queue: Vec<String> = needed.iter().cloned().collect();
    while let Some(name) = queue.pop() {
        for upstream in there
            .iter()
            .filter(|plugin| plugin.name == name)
            .flat_map(|it| upstream(it, &there, bundle, installed))
        {
            if wanted.contains(&name) && !wanted.contains(&upstream) {
                notes.push(format!("{name} takes the output of {upstream}, which --plugins leaves out"));
            }
            if needed.insert(upstream.clone()) {
                queue.push(upstream);
            }
        }
    }
    there.retain(|plugin| needed.contains(&plugin.name));
    config.plugins = Some(there);
    Ok(Selection { config, instances: Some(wanted.to_vec()), notes })
}

/// The instances that take part: the chosen ones, or else all. Without a language model, the instances that
/// need one are left out with a note; if such an instance was chosen by name, that is an error.
pub(crate) fn taking_part(
    graph: &Graph,
    chosen: Option<Vec<String>>,
    has_llm: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<String>, node::Error> {
    let idle = |name: &str| graph.instance(name).filter(|instance| !has_llm && instance.factory.needs_llm());
    if let Some(chosen) = chosen {
        return match chosen.iter().find_map(|name| idle(name)) {
            Some(instance) => Err(node::Error::NeedsLlm(instance.name.clone())),
            None => Ok(chosen),
        };
    }
    let all = graph.instances().map(|instance| instance.name.as_str().to_owned());
    let (left_out, taking_part): (Vec<String>, Vec<String>) = all.partition(|name| idle(name).is_some());
    if let [first, others @ ..] = &*left_out {
        let who = match others {
            [] => format!("{first} needs a language model and takes"),
            _ => format!("{} need a language model and take", left_out.join(", ")),
        };
        notes.push(format!("{who} no part: none is configured ([[llm.model]] in teammy.toml)"));
    }
    Ok(taking_part)
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An instance of a kind with its defaults; none for a malformed name, which the node reports.
pub(crate) fn with_defaults(name: &str, kind: &str) -> Vec<InstanceConfig> {
    let config = Config::from_toml(&format!("[[plugin]]\nname = {name:?}\nkind = {kind:?}"));
    config.ok().and_then(|config| config.plugins).unwrap_or_default()
}

/// The instances whose outputs an instance takes. The check of the graph reports unknown kinds and sources, and
/// plugins that are not prepared.
fn upstream(
    plugin: &InstanceConfig,
    all: &[InstanceConfig],
    factories: &[Factory],
    installed: &Manifest,
) -> Vec<String> {
    let factory = factories.iter().find(|factory| factory.kind() == plugin.kind);
    let own = factory.and_then(|factory| {
        installed.factory_of(factory, &Name::new(&plugin.name).ok()?, &plugin.config).ok().flatten()
    });
    let Some(Ok(metadata)) = own.as_ref().map(Factory::metadata) else { return Vec::new() };
    let sources = metadata.sources.iter().map(|source| {
        let mapped = plugin.sources.get(source.as_str());
        mapped.map_or_else(|| source.as_str().to_owned(), Clone::clone)
    });
    sources.filter(|source| all.iter().any(|other| other.name == *source)).collect()
}

#[cfg(test)]
#[cfg(all(feature = "llm-action", feature = "minutes", feature = "talk-time", feature = "watch-list"))]
mod tests {
    use teammy::{Node, plugins::bundle};

    use super::*;

    fn selected(toml: &str, wanted: &[&str]) -> Result<Selection, Error> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        select(Config::from_toml(toml).unwrap(), Some(&wanted), &bundle(), &Manifest::default())
    }

    fn names(selection: &Selection) -> Vec<&str> {
        selection.config.plugins.iter().flatten().map(|plugin| plugin.name.as_str()).collect()
    }

    const TOML: &str = r#"
        [[plugin]]
        name = "names"
        kind = "watch-list"
        [[plugin]]
        name = "echo"
        kind = "watch-list"
        sources = { transcription = "names" }
        [[plugin]]
        name = "broken"
        kind = "no-such-kind"
    "#;

    #[test]
    fn without_a_choice_nothing_changes() {
        let config = Config::from_toml(TOML).unwrap();
        let selection = select(config.clone(), None, &bundle(), &Manifest::default()).unwrap();
        assert_eq!((selection.config, selection.instances), (config, None));
    }

    #[test]
    fn only_those_that_matter_are_left() {
        let selection = selected(TOML, &["names"]).unwrap();
        assert_eq!(names(&selection), ["names"]);
        assert_eq!(selection.notes, [""; 0]);
        let selection = selected(TOML, &["echo"]).unwrap();
        assert_eq!(names(&selection), ["names", "echo"]);
        assert_eq!(selection.instances.unwrap(), ["echo"]);
        assert_eq!(selection.notes, ["echo takes the output of names, which --plugins leaves out"]);
        Node::builder(selection.config).plugins(bundle()).check().unwrap();
    }

    #[test]
    fn a_plugin_without_an_instance_gets_one() {
        assert_eq!(names(&selected(TOML, &["talk-time", "names"]).unwrap()), ["names", "talk-time"]);
        assert_eq!(names(&selected("", &["talk-time"]).unwrap()), ["talk-time"]);
        assert_eq!(names(&selected("plugin = []", &["talk-time"]).unwrap()), ["talk-time"]);
    }

    #[test]
    fn without_a_model_those_that_need_one_are_left_out() {
        let graph = |toml| Node::builder(Config::from_toml(toml).unwrap()).plugins(bundle()).check().unwrap();
        let mut notes = Vec::new();
        let all = taking_part(&graph(""), None, false, &mut notes).unwrap();
        let takes_part = |name: &str| all.iter().any(|one| one == name);
        assert!(takes_part("talk-time") && takes_part("watch-list"), "{all:?}");
        assert!(!takes_part("llm-action") && !takes_part("minutes"), "{all:?}");
        let (names, need) = notes[0].split_once(" need ").unwrap();
        let left_out: Vec<&str> = names.split(", ").collect();
        assert!(left_out.contains(&"llm-action") && left_out.contains(&"minutes"), "{notes:?}");
        let plugins = bundle().iter().filter(|factory| factory.as_host().is_none()).count();
        assert_eq!(left_out.len() + all.len(), plugins, "{notes:?}");
        assert!(need.starts_with("a language model and take no part: none is configured"), "{notes:?}");

        let mut notes = Vec::new();
        let one = graph("[[plugin]]\nname = \"notes\"\nkind = \"minutes\"");
        assert_eq!(taking_part(&one, None, false, &mut notes).unwrap(), [""; 0]);
        assert!(notes[0].starts_with("notes needs a language model"), "{notes:?}");

        let chosen = || Some(vec!["talk-time".to_owned(), "minutes".to_owned()]);
        let error = taking_part(&graph(""), chosen(), false, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("plugin instance minutes needs a language model"), "{error}");

        let mut notes = Vec::new();
        assert_eq!(taking_part(&graph(""), chosen(), true, &mut notes).unwrap(), chosen().unwrap());
        assert_eq!(taking_part(&graph(""), None, true, &mut notes).unwrap().len(), plugins);
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn unknown_plugins_are_reported() {
        for (wanted, says) in [
            ("talk-tiem", "did you mean talk-time?"),
            ("nmaes", "did you mean names?"),
            ("zzzzzz", "there is no plugin \"zzzzzz\"; there are "),
            ("", "there is no plugin \"\""),
            ("watch-list", "instances of that plugin are called names, echo"),
        ] {
            let error = selected(TOML, &[wanted]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let error = selected(TOML, &["zzzzzz"]).unwrap_err().to_string();
        let (_, there) = error.split_once("there are ").unwrap();
        let there: Vec<&str> = there.split(", ").collect();
        for name in ["broken", "echo", "llm-action", "minutes", "names", "talk-time", "watch-list"] {
            assert!(there.contains(&name), "{name}: {error}");
        }
        assert!(there.is_sorted(), "{error}");
    }
}
