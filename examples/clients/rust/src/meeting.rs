//! One meeting.

use serde::Deserialize;
use serde_json::json;
use teammy_kernel::{MeetingId, Name, Publish, Seq};

use crate::{
    digits,
    error::Error,
    events::Events,
    http::{Http, Request},
    meetings::MeetingInfo,
    producer::Producer,
    published::{self, Published},
    retry::Policy,
};

/// A packet that an instance gave up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The instance.
    pub instance: Name,
    /// The packet's seq.
    #[serde(deserialize_with = "digits::seq")]
    pub seq: Seq,
    /// The packet's source.
    pub source: Name,
    /// How often it was tried.
    pub tries: u32,
    /// The error of the last try.
    pub error: String,
}

/// A meeting at a node. A clone is the same.
#[derive(Debug, Clone)]
pub struct Meeting {
    http: Http,
    id: MeetingId,
    policy: Policy,
    is_durable: bool,
}

impl Meeting {
    pub(crate) fn new(http: Http, id: MeetingId, policy: Policy) -> Self {
        Self { http, id, policy, is_durable: false }
    }

    /// Its id.
    pub fn id(&self) -> &MeetingId {
        &self.id
    }

    /// Has [`publish`](Self::publish) wait until the packet is stored: from then on no crash loses it.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    fn path<'a>(&'a self, last: Option<&'a str>) -> impl Iterator<Item = &'a str> {
        ["meetings", self.id.as_str()].into_iter().chain(last)
    }

    /// Publishes a packet, with one try. To publish whatever happens, use a [`producer`](Self::producer).
    ///
    /// # Errors
    /// [`Error::Unknown`] if no answer came, so the packet may be published or not; otherwise it is not:
    /// [`Error::Unreachable`], [`Error::Problem`]. A problem of status 500 and above leaves it open as well.
    ///
    /// # Cancel safety
    /// The packet may be published nevertheless.
    pub async fn publish(&self, packet: Publish) -> Result<Published, Error> {
        let mut request = Request::post(self.path(Some("packets"))).json(&packet);
        if self.is_durable {
            request = request.query("durable", "true");
        }
        let result = self.http.send(request).await?.whole().await?;
        published::read(&result)
    }

    /// As [`publish`](Self::publish), but tries again where it is certain that the packet is not published, until
    /// [`Client::give_up_after`](crate::Client::give_up_after). For packets that take no numbers, such as sound.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). After [`Error::Unknown`] it may be published or not.
    ///
    /// # Cancel safety
    /// The packet may be published nevertheless.
    pub async fn publish_at_most_once(&self, packet: Publish) -> Result<Published, Error> {
        let request = Request::post(self.path(Some("packets"))).json(&packet);
        let may_pass = |error: &Error| error.can_retry() && !error.may_be_done();
        let result = self.http.whole_again(request, self.policy, may_pass).await.map_err(|error| {
            let is_unknown = error.may_be_done() && !matches!(error, Error::Unknown(_));
            if is_unknown { Error::Unknown(error.into()) } else { error }
        })?;
        published::read(&result)
    }

    /// A publisher that numbers its packets. One program uses an id at a time. It may come back with it after its own restart.
    pub fn producer(&self, id: impl Into<String>) -> Producer {
        let policy = Policy { give_up_after: None, ..self.policy };
        let producer = Producer::new(self.http.clone(), self.id.clone(), id.into(), policy);
        if self.is_durable { producer.durable() } else { producer }
    }

    /// Reads its packets, from the first one on unless another place is asked for.
    pub fn events(&self) -> Events {
        Events::new(self.http.clone(), self.id.clone(), Policy { give_up_after: None, ..self.policy })
    }

    /// What is known of it.
    ///
    /// # Errors
    /// [`Error::Problem`], [`Error::Unreachable`], [`Error::Unknown`] once it has given up, [`Error::Malformed`].
    pub async fn show(&self) -> Result<MeetingInfo, Error> {
        self.http.json_again(Request::get(self.path(None)), "a meeting", self.policy).await
    }

    /// Ends it, without waiting until its instances have finished. One that has ended is no error.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    ///
    /// # Cancel safety
    /// It may end nevertheless.
    pub async fn end(&self) -> Result<MeetingInfo, Error> {
        let request = Request::post(self.path(Some("end"))).json(&json!({"wait": false}));
        self.http.json_again(request, "a meeting", self.policy).await
    }

    /// Ends it, and waits until all instances have finished, however long that takes.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    ///
    /// # Cancel safety
    /// It may end nevertheless.
    pub async fn end_and_wait(&self) -> Result<MeetingInfo, Error> {
        let request = Request::post(self.path(Some("end"))).json(&json!({"wait": true})).unlimited();
        self.http.json_again(request, "a meeting", self.policy).await
    }

    /// What its instances gave up, by seq. Needs a key with scope `admin`, if there are keys.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        #[derive(Deserialize)]
        struct Letters {
            letters: Vec<DeadLetter>,
        }
        let request = Request::get(self.path(Some("dead-letters")));
        let Letters { letters } = self.http.json_again(request, "dead letters", self.policy).await?;
        Ok(letters)
    }
}
