//! Publishes numbered lines to a meeting and follows it, whatever happens to its node meanwhile, and checks that each line came
//! back once and in order. Kill the node and start it again while this runs:
//!
//! ```sh
//! teammy node --db surrealkv://try.db &
//! cargo run -p teammy-client --example follow -- http://localhost:7600 10000
//! ```

use std::error::Error;

use futures::{StreamExt, stream};
use teammy_client::{Client, Name, Opening, Payload, Publish};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://localhost:7600".to_owned());
    let lines: u64 = arguments.next().map_or(Ok(1000), |lines| lines.parse())?;

    let client = Client::new(&url)?;
    let meeting = client.open(Opening::new().title("Lines").plugin("talk-time")).await?;
    println!("meeting {}", meeting.id());

    let mut packets = meeting.events().sources([Name::new("chat")?]).follow();
    let reading = async {
        let mut wanted = 1;
        while let Some(packet) = packets.next().await {
            let packet = packet?;
            let Payload::Json(text) = &packet.payload else { return Err("a packet without JSON".into()) };
            let line: u64 = serde_json::from_str::<Line>(text)?.text.parse()?;
            if line != wanted {
                return Err(format!("packet {} is line {line}, not {wanted}", packet.seq).into());
            }
            wanted += 1;
        }
        Ok::<u64, Box<dyn Error>>(wanted - 1)
    };

    let mut producer = meeting.producer("follow").durable();
    let publishing = async {
        let all = (1..=lines)
            .map(|line| Publish::json("chat", &Line { text: line.to_string() }).expect("it is JSON"));
        let mut duplicates = 0;
        // The first half one by one, the rest many at a time.
        let mut one_by_one = all.clone().take(usize::try_from(lines / 2)?);
        for packet in one_by_one.by_ref() {
            duplicates += u64::from(producer.publish(packet).await?.duplicate);
        }
        let mut results = producer.publish_all(stream::iter(all.skip(usize::try_from(lines / 2)?)));
        while let Some(result) = results.next().await {
            duplicates += u64::from(result?.duplicate);
        }
        drop(results);
        meeting.end_and_wait().await?;
        Ok::<u64, Box<dyn Error>>(duplicates)
    };

    let (read, duplicates) = futures::future::try_join(reading, publishing).await?;
    println!(
        "published {lines} lines, {duplicates} of them were there when they were sent again; read {read}"
    );
    if read == lines { Ok(()) } else { Err("lines are missing".into()) }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Line {
    text: String,
}
