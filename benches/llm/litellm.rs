//! `LiteLLM`'s proxy, as `benches/litellm.sh` installs it, in front of the bench's server. It runs as it comes: one process,
//! no database, no key.

use std::{fs, io, net::TcpListener, path::PathBuf, time::Duration};

use tokio::time::Instant;

use crate::{
    child::Role,
    clients::{AsyncOpenAi, Form},
};

/// How long the proxy may take to start.
const START: Duration = Duration::from_mins(1);

/// Without this it does not start without a key. It listens on loopback.
const NO_KEY: &str = "general_settings:\n  dangerously_permit_weak_or_unset_master_key: true\n";

pub struct LiteLlm {
    role: Role,
    folder: PathBuf,
    /// Its URL up to the version.
    pub url: String,
}

/// The name that a model with this service time has at the proxy.
pub fn model(milliseconds: u64) -> String {
    format!("bench-{milliseconds}")
}

impl LiteLlm {
    /// Starts the proxy in front of the server at `port`, and waits until it answers.
    ///
    /// # Errors
    /// Why it doesn't answer.
    pub async fn start(program: &str, port: u16, times: &[u64]) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start {program}: {error}");
        let folder = std::env::temp_dir().join(format!("teammy-bench-llm-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(failed)?;
        let mut models = String::new();
        for time in times {
            let name = model(*time);
            models += "  - litellm_params:\n      model: openai/bench\n      api_key: none\n";
            models += "      api_base: http://127.0.0.1:PORT/TIME/v1\n    model_name: NAME\n";
            models = models
                .replace("PORT", &port.to_string())
                .replace("TIME", &time.to_string())
                .replace("NAME", &name);
        }
        let config = folder.join("config.yaml");
        fs::write(&config, format!("model_list:\n{models}litellm_settings:\n  telemetry: false\n{NO_KEY}"))
            .map_err(failed)?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let own_port = free.map_err(failed)?.port().to_string();
        let config = config.to_string_lossy().into_owned();
        let log = folder.join("log").to_string_lossy().into_owned();
        let own = ["--config", &config, "--host", "127.0.0.1", "--port", &own_port];
        let role = Role::start(&[&["--keep", &log, program][..], &own].concat()).map_err(failed)?;
        let url = format!("http://127.0.0.1:{own_port}/v1");
        let mut proxy = Self { role, folder, url };
        proxy.wait(times[0]).await?;
        Ok(proxy)
    }

    async fn wait(&mut self, time: u64) -> Result<(), String> {
        let client = AsyncOpenAi::new(&self.url);
        let (until, model) = (Instant::now() + START, model(time));
        loop {
            if self.role.has_ended() {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(format!("it has ended while it started; it printed:\n{log}"));
            }
            let asked = client.ask(&model, Form::Whole, "Are you there?");
            let last = match tokio::time::timeout_at(until, asked).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => "no answer came".to_owned(),
            };
            if Instant::now() >= until {
                return Err(format!("it did not answer within {} s: {last}", START.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for LiteLlm {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
