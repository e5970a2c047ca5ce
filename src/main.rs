//! The program `teammy`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
