//! The plugins that ship with Teammy: one ordered table, a Cargo feature each.
//!
//! A plugin has one name everywhere: its kind, its feature, its folder under `plugins/` and the name of its
//! instance where the configuration gives none. To add one, add its dependency and feature to this crate's
//! manifest (the feature to its `default`, too), and a line to the table below, in the order of the alphabet.

use teammy_kernel::{
    Factory,
    graph::{Bundle, KnownKind},
};

macro_rules! table {
    ($($name:literal => $plugin:path,)*) => {
        /// The plugins that are in this build, in the table's order, and the kinds that any build may have.
        ///
        /// # Examples
        /// ```
        /// let bundle = teammy_plugins::bundle();
        /// assert!(bundle.known().iter().any(|known| known.kind == "talk-time"));
        /// # #[cfg(feature = "talk-time")]
        /// assert!(bundle.iter().any(|factory| factory.kind() == "talk-time"));
        /// ```
        pub fn bundle() -> Bundle {
            let factories: &[Factory] = &[$(
                #[cfg(feature = $name)]
                Factory::of::<$plugin>($name),
            )*];
            Bundle::new(factories.to_vec(), vec![$(KnownKind { kind: $name, feature: $name },)*])
        }
    };
}

table! {
    "llm-action" => teammy_plugin_llm_action::LlmAction,
    "minutes" => teammy_plugin_minutes::Minutes,
    "talk-time" => teammy_plugin_talk_time::TalkTime,
    "watch-list" => teammy_plugin_watch_list::WatchList,
}

#[cfg(test)]
mod tests;
