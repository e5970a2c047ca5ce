//! The entry.

use std::time::Duration;

use teammy_kernel::MeetingId;

use crate::{
    error::Error,
    http::{Http, Request},
    meeting::Meeting,
    meetings::{MeetingInfo, Meetings, Opening},
    retry::Policy,
};

/// How long requests that may be sent again are tried, unless something else is asked for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// A client of a node, or of a proxy before some. A clone shares its connections.
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
        let policy = Policy { give_up_after: Some(GIVE_UP_AFTER), ..Policy::default() };
        Ok(Self { http: Http::new(url)?, policy })
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
        // With this, a meeting without an id is the same one each time that the request is sent.
        let key = format!("{:032x}", fastrand::u128(..));
        let request = Request::post(["meetings"]).header("idempotency-key", &key).json(&opening);
        let info: MeetingInfo = self.http.json_again(request, "a meeting", self.policy).await?;
        Ok(self.meeting(info.id))
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
