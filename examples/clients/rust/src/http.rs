//! The HTTP client under the API. The only module that names it.

mod addresses;
mod tls;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use reqwest::{
    Client, Method, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use serde::{Serialize, de::DeserializeOwned};
use teammy_kernel::chain;
use tokio::time::{Instant, sleep, timeout};

pub use self::addresses::AddressFailure;
use self::addresses::Addresses;
use crate::{
    error::Error,
    retry::{Policy, Tries},
};

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long an idle connection is kept. The node closes one after 10 s: a request that is sent at that moment would be lost, and
/// nobody could tell.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// How long an answer may take, and each next piece of it.
const ANSWER_TIME: Duration = Duration::from_mins(1);

/// The same where another address could be asked instead. It is longer than a node looks for a meeting by itself.
const ANSWER_TIME_OF_SEVERAL: Duration = Duration::from_secs(20);

/// How often the system asks a silent host whether it is there. It finds hosts that vanished under a request without a limit.
const PROBE_TIME: Duration = Duration::from_secs(15);

/// The longest answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;

/// How much is read of the body of an error.
const MAX_PROBLEM: usize = 64 << 10;

/// A node, or several of a cluster, or what stands before some. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    bases: Arc<[Url]>,
    addresses: Arc<Addresses>,
    key: Option<HeaderValue>,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, HeaderValue)>,
    body: Bytes,
    limit: Option<Duration>,
}

impl Request {
    fn new<'a>(method: Method, path: impl IntoIterator<Item = &'a str>) -> Self {
        let path = path.into_iter().map(str::to_owned).collect();
        let (query, headers) = (Vec::new(), Vec::new());
        Self { method, path, query, headers, body: Bytes::new(), limit: Some(ANSWER_TIME) }
    }

    pub(crate) fn get<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header of visible ASCII characters.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    pub(crate) fn body(mut self, kind: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.push(("content-type", HeaderValue::from_static(kind)));
        self.body = body.into();
        self
    }

    pub(crate) fn json<T: Serialize>(self, value: &T) -> Self {
        let json = serde_json::to_vec(value).expect("invariant: these types have a JSON form");
        self.body("application/json", json)
    }

    /// Its answer may take as long as it wants.
    pub(crate) fn unlimited(mut self) -> Self {
        self.limit = None;
        self
    }
}

/// A successful answer, of which the head has come.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    limit: Option<Duration>,
    from: Origin,
}

/// Which address an answer comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    addresses: Arc<Addresses>,
    at: usize,
}

impl Origin {
    /// What it answered is of no use, if that is because of the node: another address is used from now on.
    pub(crate) fn failed(&self, error: &Error) {
        if error.is_of_node() {
            self.addresses.failed(self.at, chain(error));
        }
    }
}

impl Http {
    /// One that uses any of these URLs, the first one at first.
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let bases: Vec<Url> = urls.into_iter().map(base).collect::<Result<_, _>>()?;
        if bases.is_empty() {
            return Err(Error::Url(String::new()));
        }
        let is_tls = bases.iter().any(|base| base.scheme() == "https");
        let client = Client::builder()
            .tls_backend_preconfigured(tls::config(is_tls)?)
            .connect_timeout(CONNECT_TIME)
            .pool_idle_timeout(IDLE_TIME)
            .tcp_keepalive(PROBE_TIME)
            .tcp_keepalive_interval(PROBE_TIME)
            .tcp_keepalive_retries(4)
            .user_agent(concat!("teammy-client/", env!("CARGO_PKG_VERSION")))
            // Whether to try again is decided here, and a packet without a number is sent once.
            .retry(reqwest::retry::never())
            // A key must not follow a redirect to another server.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build();
        let client = client.map_err(|error| Error::Setup(Box::new(error)))?;
        let addresses = Arc::new(Addresses::new(bases.iter().map(shown).collect()));
        Ok(Self { client, bases: bases.into(), addresses, key: None })
    }

    /// How many addresses there are.
    pub(crate) fn addresses(&self) -> usize {
        self.addresses.len()
    }

    /// The address that is used now.
    pub(crate) fn address(&self) -> &str {
        self.addresses.shown()
    }

    /// Why addresses failed that have not answered since.
    pub(crate) fn failures(&self) -> Vec<AddressFailure> {
        self.addresses.failures()
    }

    pub(crate) fn key(mut self, secret: &str) -> Result<Self, Error> {
        let mut key = HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| Error::Key)?;
        key.set_sensitive(true);
        self.key = Some(key);
        Ok(self)
    }

    fn url(&self, at: usize, request: &Request) -> Result<Url, Error> {
        let mut url = self.bases[at].clone();
        // A URL takes these as steps up the path, however they are written.
        if let Some(step) = request.path.iter().find(|segment| [".", ".."].contains(&segment.as_str())) {
            return Err(Error::Url(step.clone()));
        }
        let wrong = |()| Error::Url(self.bases[at].to_string());
        url.path_segments_mut().map_err(wrong)?.pop_if_empty().push("v1").extend(&request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }

    /// Sends a request once, and waits for the head of a successful answer. If the node cannot give it, the next request goes
    /// to another address.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Error> {
        let from = Origin { addresses: self.addresses.clone(), at: self.addresses.current() };
        let answer = self.send_to(from.clone(), request).await;
        match &answer {
            Ok(_) => from.addresses.answered(from.at),
            Err(error) => from.failed(error),
        }
        answer
    }

    async fn send_to(&self, from: Origin, request: Request) -> Result<Answer, Error> {
        let url = self.url(from.at, &request)?;
        let Request { method, headers, body, limit, .. } = request;
        let limit = if self.addresses() > 1 { limit.map(|it| it.min(ANSWER_TIME_OF_SEVERAL)) } else { limit };
        let mut map: HeaderMap = headers
            .into_iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value))
            .collect();
        if let Some(key) = &self.key {
            map.insert(AUTHORIZATION, key.clone());
        }
        map.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        let sending = self.client.request(method, url).headers(map).body(body).send();
        let response = within(limit, sending).await?.map_err(failed)?;
        let answer = Answer { response, limit, from };
        if answer.response.status().is_success() { Ok(answer) } else { Err(answer.problem().await) }
    }

    /// Sends a request once, and reads its answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: Request,
        what: &'static str,
    ) -> Result<T, Error> {
        let body = self.send(request).await?.whole().await?;
        serde_json::from_slice(&body).map_err(|error| Error::malformed(what, error))
    }

    /// As [`json`](Self::json), for a request that may be sent again. Tries until it gets an answer or must give up.
    pub(crate) async fn json_again<T: DeserializeOwned>(
        &self,
        request: Request,
        what: &'static str,
        policy: Policy,
    ) -> Result<T, Error> {
        let body = self.whole_again(request, policy, Error::can_retry).await?;
        serde_json::from_slice(&body).map_err(|error| Error::malformed(what, error))
    }

    /// The body of the answer to a request that is sent again as long as its failure `may_pass`.
    pub(crate) async fn whole_again(
        &self,
        request: Request,
        policy: Policy,
        may_pass: impl Fn(&Error) -> bool,
    ) -> Result<Vec<u8>, Error> {
        let mut tries = Tries::new(policy, Instant::now());
        loop {
            let began = Instant::now();
            let mut attempt = request.clone();
            if let (Some(limit), Some(deadline), 1) = (&mut attempt.limit, tries.deadline(), self.addresses())
            {
                *limit = (*limit).min(deadline.saturating_duration_since(began));
            }
            let whole = async { self.send(attempt).await?.whole().await };
            let error = match whole.await {
                Err(error) if may_pass(&error) => error,
                done => return done,
            };
            let was_under_way = matches!(error, Error::Unknown(_)) && began.elapsed() > CONNECT_TIME;
            if request.limit.is_none() && was_under_way {
                // It was being carried out all the time.
                tries.progress(Instant::now());
            }
            match tries.after(&error, Instant::now(), fastrand::f64()) {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }
}

/// A URL below which the API is.
fn base(url: &str) -> Result<Url, Error> {
    let wrong = || Error::Url(url.to_owned());
    let base = Url::parse(url).map_err(|_| wrong())?;
    let is_plain = base.query().is_none() && base.fragment().is_none() && base.host().is_some();
    if is_plain && ["http", "https"].contains(&base.scheme()) { Ok(base) } else { Err(wrong()) }
}

/// A URL without a name and a password.
fn shown(base: &Url) -> String {
    let path = base.path().trim_end_matches('/');
    format!("{}{path}", base.origin().ascii_serialization())
}

impl Answer {
    /// What the body is, in lower case and without parameters.
    pub(crate) fn kind(&self) -> String {
        let kind = self.response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = within(self.limit, self.response.chunk()).await;
        let chunk = chunk.and_then(|chunk| chunk.map_err(failed));
        if let Err(error) = &chunk {
            self.from.failed(error);
        }
        chunk
    }

    /// Which address it comes from.
    pub(crate) fn origin(&self) -> Origin {
        self.from.clone()
    }

    /// The pieces of the body, each of which may take so long.
    pub(crate) fn chunks(mut self, silence: Duration) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        self.limit = Some(silence);
        stream::try_unfold(self, |mut answer| async move {
            Ok(answer.chunk().await?.map(|chunk| (chunk, answer)))
        })
    }

    /// The whole body.
    pub(crate) async fn whole(mut self) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                let what = format!("it is larger than {} MiB", MAX_ANSWER >> 20);
                return Err(Error::malformed("an answer", what));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn problem(mut self) -> Error {
        let status = self.response.status().as_u16();
        let wait = self.response.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok());
        // A date, which the header may hold too, is left out: the waits grow without it.
        let retry_after = wait.and_then(|wait| wait.trim().parse().ok()).map(Duration::from_secs);
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // What the status alone says is not enough to act on.
                Err(error) => return error,
            }
            if body.len() > MAX_PROBLEM {
                break;
            }
        }
        Error::of_answer(status, &body, retry_after)
    }
}

async fn within<T>(limit: Option<Duration>, coming: impl Future<Output = T>) -> Result<T, Error> {
    match limit {
        None => Ok(coming.await),
        Some(limit) => timeout(limit, coming).await.map_err(|late| Error::Unknown(Box::new(late))),
    }
}

/// Leaves the URL out: the caller knows it, and it may hold a secret.
fn failed(error: reqwest::Error) -> Error {
    let (is_connect, error) = (error.is_connect(), Box::new(error.without_url()));
    if is_connect { Error::Unreachable(error) } else { Error::Unknown(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_hold_any_id() {
        let http = Http::new(["http://localhost:7600/teammy/"]).unwrap();
        let request = Request::get(["meetings", "a/b ü?"]).query("after", "7").query("label", "a&b:c");
        let url = http.url(0, &request).unwrap();
        assert_eq!(
            url.as_str(),
            "http://localhost:7600/teammy/v1/meetings/a%2Fb%20%C3%BC%3F?after=7&label=a%26b%3Ac"
        );
        assert!(matches!(http.url(0, &Request::get(["meetings", ".."])), Err(Error::Url(_))));
    }

    #[test]
    fn only_urls_of_nodes_are_taken() {
        for url in ["localhost:7600", "ftp://localhost", "http://localhost?x", "unix:/run/x", ""] {
            assert!(matches!(Http::new([url]), Err(Error::Url(_))), "{url}");
        }
        assert!(matches!(Http::new([]), Err(Error::Url(_))));
    }

    #[test]
    fn an_address_is_shown_without_a_password() {
        let urls = ["http://me:secret@localhost:7600/teammy/", "https://[::1]:7601"];
        let shown: Vec<_> = urls.iter().map(|url| shown(&base(url).unwrap())).collect();
        assert_eq!(shown, ["http://localhost:7600/teammy", "https://[::1]:7601"]);
    }

    #[test]
    fn a_key_is_never_shown() {
        let http = Http::new(["http://localhost"]).unwrap().key("very-secret").unwrap();
        assert!(!format!("{http:?}").contains("very-secret"));
        assert!(matches!(http.key("a\nb"), Err(Error::Key)));
    }
}
