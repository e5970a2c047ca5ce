//! The program `teammy`.

fn main() -> std::process::ExitCode {
    teammy::cli::main(teammy::plugins::bundle())
}
