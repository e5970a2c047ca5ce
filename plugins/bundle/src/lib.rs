//! The plugins that ship with Teammy: one ordered table, a Cargo feature each.
//!
//! A plugin has one name everywhere: its kind, its feature, its folder under `plugins/` and the name of its instance
//! where the configuration gives none. To add one, add its dependency and feature to this crate's manifest, and a line
//! to the table below.

use teammy_kernel::{Factory, graph::KnownKind};

macro_rules! table {
    ($($name:literal => $plugin:path,)*) => {
        /// How to make the plugins that are in this build, in the table's order.
        ///
        /// # Examples
        /// ```
        /// let kinds: Vec<_> = teammy_plugins::bundle().iter().map(|factory| factory.kind()).collect();
        /// # #[cfg(feature = "talk-time")]
        /// assert!(kinds.contains(&"talk-time"));
        /// ```
        pub fn bundle() -> Vec<Factory> {
            [$(
                #[cfg(feature = $name)]
                Factory::of::<$plugin>($name),
            )*]
            .into()
        }

        /// The plugins that any build may have, in the table's order, with the feature that brings each in.
        pub fn known() -> Vec<KnownKind> {
            vec![$(KnownKind { kind: $name, feature: $name },)*]
        }
    };
}

table! {
    "talk-time" => teammy_plugin_talk_time::TalkTime,
    "watch-list" => teammy_plugin_watch_list::WatchList,
}

#[cfg(test)]
mod tests;
