//! Prints `default.toml`, made from the code.

fn main() {
    print!("{}", teammy_config::reference::toml());
}
