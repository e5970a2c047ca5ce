//! A client of a Teammy node's network API (docs/http.md).
//!
//! Nothing is lost and nothing is doubled, whatever happens to connections and nodes meanwhile:
//!
//! * A [`Producer`] numbers its packets and publishes each again until the meeting says that it has it. The meeting knows the
//!   numbers, so a packet that it has already is not published twice.
//! * [`Events`] come back with the seq of the last packet, and give each packet once and in order.
//! * [`Meeting::publish`] tries once. If no answer came, it says so ([`Error::Unknown`]) rather than guess.
//! * [`Client::any_of`] takes the addresses of several nodes: when one dies, another is used.
//!
//! # Examples
//! ```no_run
//! use futures::StreamExt;
//! use teammy_client::{Client, Opening, Publish, data::Chat};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://localhost:7600")?;
//! let meeting = client.open(Opening::new().id("standup".parse()?).plugin("talk-time")).await?;
//!
//! let mut producer = meeting.producer("backend-7");
//! let published = producer.publish(Publish::json("chat", &Chat::new("Good morning."))?.participant("Ada")).await?;
//! println!("published as {}", published.seq);
//! meeting.end().await?;
//!
//! let mut outputs = meeting.events().outputs_only().follow();
//! while let Some(packet) = outputs.next().await {
//!     let packet = packet?;
//!     println!("{} {}", packet.seq, packet.source);
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod digits;
mod error;
mod events;
mod http;
mod meeting;
mod meetings;
mod producer;
mod published;
mod retry;

pub use client::Client;
pub use error::Error;
pub use events::{Events, Packets};
pub use http::AddressFailure;
pub use meeting::{DeadLetter, Meeting};
pub use meetings::{InstanceInfo, MeetingInfo, Meetings, Opened, Opening, Status};
pub use producer::Producer;
pub use published::Published;
pub use teammy_kernel::{DataPacket, MeetingId, Name, Payload, Publish, Seq, Timestamp, data};
