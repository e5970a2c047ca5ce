//! The whole program `teammy`, with a plugin of one's own.

fn main() -> std::process::ExitCode {
    teammy::cli::Program::new("questions", env!("CARGO_PKG_VERSION"))
        .plugins(teammy::plugins::bundle())
        .plugin(teammy::Factory::of::<teammy_plugin_template::QuestionLog>("questions"))
        .main()
}
