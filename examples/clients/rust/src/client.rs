//! The entry.

use std::time::Duration;

use serde::Deserialize;
use teammy_kernel::MeetingId;

use crate::{
    error::Error,
    http::{AddressFailure, Http, Request},
    meeting::Meeting,
    meetings::{InstanceInfo, MeetingInfo, Meetings, Opening},
    retry::Policy,
};

/// How long requests that may be sent again are tried, unless something else is asked for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// A client of a node, of several nodes of a cluster, or of a proxy before some. A clone shares its connections.
///
/// Opening, ending, showing and listing meetings may be sent again without harm. They are, until [`give_up_after`]
/// (30 s by default).
///
/// [`give_up_after`]: Client::give_up_after
#[derive(Debug, Clone)]
pub struct Client {
    http: Http,
    policy: Policy,
}

impl Client {
    /// A client of the node at a URL, such as `http://localhost:7600`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Setup`].
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::any_of([url])
    }

    /// A client of several nodes of a cluster, at one URL each. It uses one of them, and another one once that fails: each is tried
    /// once before it waits. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Url`], also without any URL, [`Error::Setup`].
    ///
    /// # Examples
    /// ```
    /// use teammy_client::Client;
    /// let client = Client::any_of(["http://localhost:7601", "http://localhost:7602", "http://localhost:7603"])?;
    /// # Ok::<(), teammy_client::Error>(())
    /// ```
    pub fn any_of<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let http = Http::new(urls)?;
        let policy =
            Policy { give_up_after: Some(GIVE_UP_AFTER), addresses: http.addresses(), ..Policy::default() };
        Ok(Self { http, policy })
    }

    /// Sends a key with each request, as a bearer token.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn key(self, secret: &str) -> Result<Self, Error> {
        Ok(Self { http: self.http.key(secret)?, ..self })
    }

    /// Sets the wait after the first failure, which doubles with each one that follows up to `longest`. A part of it is left to
    /// chance. The defaults are 100 ms and 10 s; producers and readers use the same.
    #[must_use]
    pub fn waits(mut self, first: Duration, longest: Duration) -> Self {
        (self.policy.first, self.policy.longest) = (first, longest);
        self
    }

    /// Sets how long requests that may be sent again are tried. Producers and readers have their own.
    #[must_use]
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.policy.give_up_after = Some(limit);
        self
    }

    /// Starts a meeting, or resumes or joins the one that is there.
    ///
    /// # Errors
    /// [`Error::Problem`], [`Error::Unreachable`], [`Error::Unknown`] once it has given up, [`Error::Malformed`].
    ///
    /// # Cancel safety
    /// The meeting may be open nevertheless.
    pub async fn open(&self, opening: Opening) -> Result<Meeting, Error> {
        let info = self.open_info(opening).await?;
        Ok(self.meeting(info.id))
    }

    /// As [`open`](Self::open), and returns what is known of the meeting.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    /// The meeting may be open nevertheless.
    pub async fn open_info(&self, opening: Opening) -> Result<MeetingInfo, Error> {
        // With this, a meeting without an id is the same one each time that the request is sent.
        let key = format!("{:032x}", fastrand::u128(..));
        let request = Request::post(["meetings"]).header("idempotency-key", &key).json(&opening);
        self.http.json_again(request, "a meeting", self.policy).await
    }

    /// The instances that meetings can be opened with.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn instances(&self) -> Result<Vec<InstanceInfo>, Error> {
        #[derive(Deserialize)]
        struct Plugins {
            plugins: Vec<InstanceInfo>,
        }
        let request = Request::get(["plugins"]);
        let Plugins { plugins } = self.http.json_again(request, "the instances", self.policy).await?;
        Ok(plugins)
    }

    /// The address that is used now, without a user's name and password.
    pub fn address(&self) -> &str {
        self.http.address()
    }

    /// Why addresses failed that have not answered since, in the order in which they were given.
    pub fn failures(&self) -> Vec<AddressFailure> {
        self.http.failures()
    }

    /// A meeting that is open already, or was. Nothing is sent.
    pub fn meeting(&self, id: MeetingId) -> Meeting {
        Meeting::new(self.http.clone(), id, self.policy)
    }

    /// Meetings, the one that was created last first.
    pub fn meetings(&self) -> Meetings {
        Meetings::new(self.http.clone(), self.policy)
    }
}
