//! Packets that instances gave up: looking at them, and having them delivered once more.

use teammy_kernel::{
    MeetingId, Name, Seq,
    store::{DeadLetter, MeetingStatus},
};

use super::{Error, LifecyclePackets, Node, stored};
use crate::meeting::{self, MeetingRef, RedriveTicket};

/// Which of a meeting's dead letters to deliver once more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redrive {
    instance: Option<Name>,
    seq: Option<Seq>,
}

impl Redrive {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those of this instance.
    #[must_use]
    pub fn instance(mut self, instance: Name) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Those of this packet.
    #[must_use]
    pub fn seq(mut self, seq: Seq) -> Self {
        self.seq = Some(seq);
        self
    }

    fn takes(&self, letter: &DeadLetter) -> bool {
        self.instance.as_ref().is_none_or(|instance| *instance == letter.instance)
            && self.seq.is_none_or(|seq| seq == letter.seq)
    }
}

/// Packets that are on their way once more.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Redriven {
    /// How many.
    pub count: usize,
    /// The meeting, if there are any.
    pub meeting: Option<MeetingRef>,
    places: Vec<RedriveTicket>,
}

impl Redriven {
    fn of(places: Vec<RedriveTicket>, meeting: Option<MeetingRef>) -> Self {
        Self { count: places.len(), meeting, places }
    }

    /// Waits until their instances have had them, and what came of it is stored: then those that are still
    /// dead letters have failed again. Of a meeting that had ended it waits until it has ended once more.
    ///
    /// # Errors
    /// [`meeting::Error::Gone`] if this node lost the meeting before.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn done(&self) -> Result<(), meeting::Error> {
        let Some(meeting) = &self.meeting else { return Ok(()) };
        match meeting.redriven(self.places.clone()).await {
            // It had nothing else to do.
            Err(meeting::Error::Ended(_)) => Ok(()),
            result => result,
        }
    }
}

impl Node {
    /// A meeting's dead letters, by seq, then instance; none where there is no such meeting.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn dead_letters(&self, id: &MeetingId) -> Result<Vec<DeadLetter>, Error> {
        self.store().dead_letters(id.clone()).await.map_err(Error::Store)
    }

    /// Has packets delivered once more that instances gave up, and says how many those are. Each comes to its
    /// instance at the end of the log; with what comes of it its dead letter goes, and one that fails
    /// again stays.
    ///
    /// A meeting that doesn't run here is resumed for it, and one that had ended is opened once more for
    /// those instances alone: they get their packets, and it ends again. [`Redriven::done`] says when.
    ///
    /// # Errors
    /// [`Error::NoMeeting`]; [`Error::Meeting`] if an instance is suspended, has left or isn't configured, or
    /// the meeting is ending; those of [`resume_meeting`](Self::resume_meeting).
    pub async fn redrive(&self, id: &MeetingId, which: &Redrive) -> Result<Redriven, Error> {
        let letters = self.dead_letters(id).await?;
        let letters: Vec<_> = letters.iter().filter(|letter| which.takes(letter)).collect();
        if letters.is_empty() {
            return match self.store().meeting(id.clone()).await.map_err(Error::Store)? {
                Some(_) => Ok(Redriven::of(Vec::new(), None)),
                None => Err(Error::NoMeeting(id.clone())),
            };
        }
        let letters: Vec<_> =
            letters.into_iter().map(|letter| (letter.instance.clone(), letter.seq)).collect();
        if let Some(meeting) = self.meeting(id) {
            let places = meeting.redrive(letters).await?;
            return Ok(Redriven::of(places, Some(meeting)));
        }
        let meeting = self.open_for(id, &letters).await?;
        match meeting.redrive(letters).await {
            Ok(places) if !places.is_empty() => Ok(Redriven::of(places, Some(meeting))),
            // There is nothing that it was opened for.
            answer => {
                meeting.stop().await;
                Ok(Redriven::of(answer?, None))
            }
        }
    }

    /// Goes on with a meeting that doesn't run here, even with one that had ended.
    async fn open_for(&self, id: &MeetingId, letters: &[(Name, Seq)]) -> Result<MeetingRef, Error> {
        let record = self.store().meeting(id.clone()).await.map_err(Error::Store)?;
        let record = record.ok_or_else(|| Error::NoMeeting(id.clone()))?;
        let before = stored(&**self.store(), record, &mut LifecyclePackets::default()).await?;
        if before.status() != MeetingStatus::Ended {
            return self.resume_meeting(id).await;
        }
        // One that had ended needs those whose packets they are, and no others.
        for (instance, _) in letters {
            let Some(configured) = self.graph().instance(instance.as_str()) else {
                let suggestion = self.graph().closest_instance(instance.as_str()).cloned();
                let instance = instance.as_str().to_owned();
                return Err(Error::Meeting(meeting::Error::UnknownInstance { instance, suggestion }));
            };
            if self.resources.lacks_llm(configured) {
                return Err(Error::NeedsLlm(instance.clone()));
            }
        }
        self.reopen_meeting(id).await
    }
}
