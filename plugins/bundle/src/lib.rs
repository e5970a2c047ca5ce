//! The plugins that ship with Teammy: one ordered table of factories, with a Cargo feature for each.
//!
//! A plugin has one name everywhere: its kind, its feature, its folder under `plugins/`, and its instance if
//! the configuration names none. To add a plugin, add its dependency and its feature to this crate's manifest
//! (the feature also to `default`), and a line to the table below. All of these lists are alphabetical.

use teammy_kernel::{Bundle, Factory, KnownKind};

macro_rules! table {
    (plugins { $($name:literal => $plugin:path,)* } hosts { $($kind:literal => $host:path,)* }) => {
        /// Returns the plugins of this build, in the order of the table, and the kinds that other builds may have.
        ///
        /// # Examples
        /// ```
        /// let bundle = teammy_plugins::bundle();
        /// assert!(bundle.known().iter().any(|known| known.kind == "talk-time"));
        /// # #[cfg(feature = "talk-time")]
        /// assert!(bundle.iter().any(|factory| factory.kind() == "talk-time"));
        /// ```
        pub fn bundle() -> Bundle {
            let factories = vec![
                $(#[cfg(feature = $name)] Factory::of::<$plugin>($name),)*
                $(#[cfg(feature = $kind)] $host(),)*
            ];
            let known = |kind, feature| KnownKind { kind, feature };
            Bundle::new(factories, vec![
                $(known($name, concat!("teammy-plugins/", $name)),)*
                $(known($kind, concat!("teammy-plugins/", $kind)),)*
            ])
        }
    };
}

table! {
    plugins {
    "llm-action" => teammy_plugin_llm_action::LlmAction,
    "minutes" => teammy_plugin_minutes::Minutes,
    "talk-time" => teammy_plugin_talk_time::TalkTime,
    "transcriber" => teammy_plugin_transcriber::Transcriber,
    "watch-list" => teammy_plugin_watch_list::WatchList,
    }
    // Kinds whose instances each name a plugin of their own.
    hosts {
    "python" => teammy_plugin_python::factory,
    }
}

#[cfg(test)]
mod tests;
