//! Reads arbitrary bytes as a recording. The reader accepts or rejects them and never panics. A recording
//! that it accepts can be played.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use teammy::{Node, config::Config};

/// The program's reader, included as a module because the library does not have it.
#[path = "../../src/cli"]
mod cli {
    #[allow(dead_code, unused_imports)]
    pub(crate) mod recording;
    #[allow(dead_code)]
    pub(crate) mod text;
}

use cli::recording::{OnBroken, Options, Recording, Rules};

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let config = Config::from_toml("[limits]\npacket_bytes = \"4KiB\"").expect("a configuration");
    let packet_bytes = config.limits.packet_bytes;
    Rules { graph: Node::builder(config).check().expect("no instances"), packet_bytes }
});

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the options.
    let Some((how, bytes)) = bytes.split_first() else { return };
    let options = Options {
        limit: (how & 2 != 0).then(|| u64::from(how >> 4) + 1),
        on_broken: if how & 1 == 0 { OnBroken::Stop } else { OnBroken::Skip },
        encoding: (how & 4 != 0).then(|| "windows-1252".parse().expect("an encoding")),
        started_at: (how & 8 != 0).then_some(teammy::Timestamp::UNIX_EPOCH),
        participants: if how & 16 == 0 { Vec::new() } else { vec!["Ada".into(), "Bo".into()] },
    };
    let Ok(recording) = Recording::read("bytes".into(), bytes, None, RULES.clone(), options) else { return };
    let _ = recording.skipped().warnings();
    let Ok(packets) = recording.play() else { return };
    let played = packets.take_while(Result::is_ok).count() as u64;
    assert!(played <= recording.len(), "{played} of {}", recording.len());
});
