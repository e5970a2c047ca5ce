//! Dead letters: which there are, and their redrive.

use serde::{Deserialize, Serialize};
use teammy_kernel::{MeetingId, Name, Seq, store::DeadLetter};

use crate::{
    meeting::{self, LocalMeeting, MeetingRef, RedriveTicket},
    node::{Error, ForRedrive, Node},
};

/// Which of a meeting's dead letters to redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    #[serde(default)]
    instance: Option<Name>,
    #[serde(default)]
    seq: Option<Seq>,
}

impl Redrive {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those of this instance.
    #[must_use]
    pub fn instance(mut self, instance: Name) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Only those of this packet.
    #[must_use]
    pub fn seq(mut self, seq: Seq) -> Self {
        self.seq = Some(seq);
        self
    }

    fn selects(&self, letter: &DeadLetter) -> bool {
        self.instance.as_ref().is_none_or(|instance| *instance == letter.instance)
            && self.seq.is_none_or(|seq| seq == letter.seq)
    }
}

/// Redrives that are under way.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Redriven {
    /// How many dead letters are redriven.
    pub count: usize,
    meeting: Option<LocalMeeting>,
    tickets: Vec<RedriveTicket>,
}

impl Redriven {
    fn new(tickets: Vec<RedriveTicket>, meeting: Option<LocalMeeting>) -> Self {
        Self { count: tickets.len(), meeting, tickets }
    }

    /// The meeting, if anything is redriven.
    pub fn meeting(&self) -> Option<MeetingRef> {
        self.meeting.clone().map(Into::into)
    }

    /// Waits until the instances have had the packets and their effects are stored. The packets that are dead
    /// letters then have failed again. Of a meeting that had ended it waits until it has ended again.
    ///
    /// # Errors
    /// [`meeting::Error::Gone`] if this node lost the meeting before.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn done(&self) -> Result<(), meeting::Error> {
        let Some(meeting) = &self.meeting else { return Ok(()) };
        match meeting.redriven(self.tickets.clone()).await {
            // It was reopened for these redrives alone.
            Err(meeting::Error::Ended(_)) => Ok(()),
            result => result,
        }
    }
}

impl Node {
    /// A meeting's dead letters, by seq, then instance; none for a meeting that does not exist.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn dead_letters(&self, id: &MeetingId) -> Result<Vec<DeadLetter>, Error> {
        self.store().dead_letters(id.clone()).await.map_err(Error::Store)
    }

    /// Redrives dead letters: each packet is delivered to its instance again, at the end of the log. Its dead
    /// letter goes in the commit of the packet's effects; if the packet fails again, it stays.
    ///
    /// A meeting that this node does not run is resumed. A meeting that has ended is reopened for those
    /// instances alone, and ends again. [`Redriven::done`] waits for it.
    ///
    /// # Errors
    /// [`Error::NoMeeting`]; [`Error::Meeting`] if an instance is suspended, has left or is not configured, or
    /// if the meeting is ending; those of [`resume_meeting`](Self::resume_meeting).
    pub async fn redrive(&self, id: &MeetingId, which: &Redrive) -> Result<Redriven, Error> {
        let letters = self.dead_letters(id).await?;
        let selected = letters.iter().filter(|letter| which.selects(letter));
        let letters: Vec<_> = selected.map(|letter| (letter.instance.clone(), letter.seq)).collect();
        if letters.is_empty() {
            return match self.store().meeting(id.clone()).await.map_err(Error::Store)? {
                Some(_) => Ok(Redriven::new(Vec::new(), None)),
                None => Err(Error::NoMeeting(id.clone())),
            };
        }
        match self.meeting_for_redrive(id, &letters).await? {
            ForRedrive::Running(meeting) => {
                let tickets = meeting.redrive(letters).await?;
                Ok(Redriven::new(tickets, Some(meeting)))
            }
            ForRedrive::TakenOver(meeting, _reserved) => match meeting.redrive(letters).await {
                Ok(tickets) if !tickets.is_empty() => Ok(Redriven::new(tickets, Some(meeting))),
                // Nothing is left to redrive: the meeting was taken over for nothing.
                result => {
                    meeting.release_within(std::time::Duration::MAX).await;
                    Ok(Redriven::new(result?, None))
                }
            },
        }
    }
}
