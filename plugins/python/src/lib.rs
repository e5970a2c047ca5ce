//! Plugins that are Python packages, written against the Teammy API of Python.
//!
//! An instance of kind `python` names a folder in its table. A process of its own on each node runs the package in
//! that folder, and gets what a plugin in Rust gets: durable state, retries, dead letters, deadlines. What a hook
//! sets, its state and its output come back as one, and are committed as one.
//!
//! `docs/python-plugins.md` is for authors and operators, `docs/python-host.md` has the protocol. Layers, each of
//! which uses those before it: values (`frame`, `protocol`, `settings`, `restarts`, `logs`), what runs outside
//! (`package`, `process`, `venv`), the conversation (`connection`, `asks`), a process and its successors (`host`), and
//! the kernel's contract (`instance`, `plugin`).

#![cfg(unix)]

mod asks;
mod connection;
mod frame;
mod host;
mod instance;
mod logs;
mod package;
mod plugin;
mod process;
mod protocol;
mod restarts;
mod settings;
mod venv;

pub use plugin::{KIND, factory};
