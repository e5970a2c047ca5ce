//! The servers that are measured, each in a process of its own: a node with the network API, and a bare echo.

use std::{sync::Arc, thread, time::Duration};

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    routing::get,
    serve::ListenerExt as _,
};
use teammy_config::Config;
use teammy_kernel::store::MemoryStore;
use teammy_runtime::Node;
use teammy_service::{Service, Stop};
use tokio::net::TcpListener;

use crate::{child, plugins};

/// Serves a node until the process' input ends. It prints its port.
pub fn teammy() -> ! {
    let mut config = "[service]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for (name, kind) in plugins::ALL {
        config += &format!("[[plugin]]\nname = \"{name}\"\nkind = \"{kind}\"\n");
    }
    let config = Config::from_toml(&config).expect("the configuration is right");
    run(async {
        let service = Service::bind(&config).await.expect("loopback has a free port");
        println!("{}", service.address().port());
        let mut builder = Node::builder(config).plugins(teammy_plugins::bundle());
        for plugin in plugins::own() {
            builder = builder.plugin(plugin);
        }
        let node = builder.store(Arc::new(MemoryStore::default())).start().await.expect("the node starts");
        let stop = Stop::default();
        stop.ready();
        service.serve(Arc::new(node), stop, Duration::from_secs(1)).await.expect("it serves");
    })
}

/// Sends each frame back, with axum's defaults, until the process' input ends. It prints its port.
pub fn echo() -> ! {
    async fn each(mut socket: WebSocket) {
        while let Some(Ok(message)) = socket.recv().await {
            let is_sent = match message {
                Message::Text(_) | Message::Binary(_) => socket.send(message).await.is_ok(),
                Message::Close(_) => false,
                Message::Ping(_) | Message::Pong(_) => true,
            };
            if !is_sent {
                return;
            }
        }
    }
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        println!("{}", listener.local_addr().expect("the listener has an address").port());
        // As the node does.
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("a stream takes the option"));
        let open = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(each);
        let router = Router::new().route("/", get(open));
        axum::serve(listener, router).await.expect("it serves");
    })
}

fn run(serving: impl Future<Output = ()>) -> ! {
    thread::spawn(|| {
        child::wait_for_the_end();
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(serving);
    std::process::exit(0)
}
