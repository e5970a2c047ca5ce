//! A connection's place among those that are allowed.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, body::Body, http::Request, response::Response, routing::future::RouteFuture};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use crate::linger::Left;

/// A connection's place among `service.connections`. A WebSocket takes it along: to hyper the connection is then over.
#[derive(Clone)]
pub(crate) struct Room(#[allow(dead_code, reason = "it is held")] Arc<OwnedSemaphorePermit>);

impl Room {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }
}

/// Gives each request its connection's place, and tells the connection if a request's body was left.
#[derive(Clone)]
pub(crate) struct WithRoom {
    pub(crate) router: Router,
    pub(crate) room: Room,
    pub(crate) left: Left,
}

impl Service<Request<Incoming>> for WithRoom {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.room.clone());
        self.router.call(self.left.watch(request))
    }
}
