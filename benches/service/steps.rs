//! One step: a server and a load generator in fresh processes, and what they did. And the search for the most meetings.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{
    child::Role,
    plan::{Measured, Plan, Protocol},
    plugins::Plugins,
};

/// The longest time from a transcription to its output, at p99, that counts as well served, in milliseconds.
pub const SERVED: f64 = 100.0;

/// What can be measured.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    pub name: &'static str,
    pub protocol: Protocol,
    pub plugins: Plugins,
    pub ack_ms: Option<u32>,
}

/// A server in a process of its own.
pub struct Server {
    role: Role,
    pub address: SocketAddr,
}

impl Server {
    /// Waits until a server prints its port.
    pub fn new(mut role: Role) -> io::Result<Self> {
        let line = role.line()?;
        let port = line.parse().map_err(|_| io::Error::other(format!("the server printed {line:?}")))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { role, address })
    }

    pub fn id(&self) -> u32 {
        self.role.id()
    }
}

/// For how long a step is measured.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub warm_up: Duration,
    pub lasts: Duration,
}

/// Starts a server of a side, has meetings talk to it for so long, and ends it.
pub fn step(
    side: Side,
    meetings: usize,
    times: Times,
    start: impl FnOnce() -> io::Result<Server>,
) -> io::Result<Measured> {
    let server = start()?;
    let plan = Plan {
        protocol: side.protocol,
        address: server.address,
        server: server.id(),
        meetings,
        plugins: side.plugins,
        ack_ms: side.ack_ms,
        warm_up: times.warm_up,
        lasts: times.lasts,
    };
    let plan = serde_json::to_string(&plan).map_err(io::Error::other)?;
    let line = Role::start(&["--load", &plan])?.line()?;
    serde_json::from_str(&line).map_err(|_| io::Error::other("the load generator failed"))
}

/// Looks for the most meetings that are served in time: it doubles them, and then halves the interval until it is an eighth of
/// them. A number fails if it fails twice, because something else may have disturbed the machine.
pub fn search(
    first: usize,
    most: usize,
    mut measure: impl FnMut(usize) -> io::Result<Measured>,
) -> io::Result<Option<Measured>> {
    let is_served = |measured: &Measured| measured.p99 <= SERVED && measured.missing == 0;
    let mut best: Option<Measured> = None;
    let (mut next, mut failed) = (first, None);
    loop {
        let mut measured = measure(next)?;
        if !is_served(&measured) {
            measured = measure(next)?;
        }
        if is_served(&measured) {
            best = Some(measured);
        } else {
            failed = Some(next);
        }
        let low = best.as_ref().map_or(0, |best| best.meetings);
        next = match failed {
            None if low >= most => return Ok(best),
            None => (low * 2).min(most),
            Some(failed) if failed - low <= (low / 8).max(1) => return Ok(best),
            Some(failed) => usize::midpoint(low, failed),
        };
    }
}
