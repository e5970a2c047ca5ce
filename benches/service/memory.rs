//! The memory of what is idle: meetings, WebSockets and readers of server-sent events.

use std::{io, net::TcpStream, time::Duration};

use comfy_table::Table;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    frames::{self, Opened},
    meetings, plugins, process, report,
    steps::Server,
};

/// How long a server may take until its memory no longer changes.
const SETTLES: Duration = Duration::from_secs(2);

struct Figures {
    table: Table,
    server: Server,
    resident: u64,
}

impl Figures {
    /// Measures after a number of things were added.
    async fn add(&mut self, what: &str, count: usize) {
        tokio::time::sleep(SETTLES).await;
        let resident = process::resident(self.server.id());
        let each = resident.saturating_sub(self.resident) as f64 / 1e3 / count as f64;
        println!(
            "{}",
            json!({"part": "memory", "what": what, "count": count, "resident_before": self.resident,
                "resident_after": resident, "kilobytes_each": each})
        );
        let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
        self.table.add_row([
            what.to_owned(),
            count.to_string(),
            mib(self.resident),
            mib(resident),
            format!("{each:.1}"),
        ]);
        self.resident = resident;
    }
}

/// Measures a node and then the echo.
pub fn measure(meetings: usize, connections: usize, node: Server, echo: Server) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let table = report::table(["", "number", "resident before, MiB", "resident after, MiB", "kB each"]);
        let resident = process::resident(node.id());
        let mut figures = Figures { table, server: node, resident };
        let address = figures.server.address;
        meetings::open(address, meetings, &plugins::FIVE).await;
        figures.add("idle meetings with five instances", meetings).await;
        let path =
            |number: usize, what: &str| format!("/v1/meetings/{}/{what}", meetings::id(number % meetings));
        let web_socket = |number: usize| frames::connect(address, &path(number, "ws"));
        let publishers = all(connections, web_socket)?;
        figures.add("idle WebSockets", connections).await;
        let readers = all(connections, |number| {
            let (mut stream, received) = web_socket(number)?;
            io::Write::write_all(&mut stream, &frames::text("{\"type\":\"subscribe\",\"outputs\":true}"))?;
            Ok((stream, received))
        })?;
        figures.add("idle WebSockets that read outputs", connections).await;
        let events =
            all(connections, |number| frames::events(address, &path(number, "events?outputs=true")))?;
        figures.add("idle readers of server-sent events", connections).await;
        drop((publishers, readers, events));

        figures.resident = process::resident(echo.id());
        figures.server = echo;
        let address = figures.server.address;
        let _echoed = all(connections, |_| frames::connect(address, "/"))?;
        figures.add("the bare echo: idle WebSockets", connections).await;
        println!("\n{}", figures.table);
        Ok(())
    })
}

/// Opens so many connections, one after the other.
fn all(count: usize, open: impl Fn(usize) -> io::Result<Opened>) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|number| open(number).map(|(stream, _)| stream)).collect()
}
