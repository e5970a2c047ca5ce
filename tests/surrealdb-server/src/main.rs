//! SurrealDB's own server, with its own command line: `surrealdb-server start --user root --pass root --bind
//! 127.0.0.1:PORT surrealkv://DIRECTORY`.

use std::process::ExitCode;

fn main() -> ExitCode {
    surrealdb_server::init(surrealdb_server::core::CommunityComposer())
}
