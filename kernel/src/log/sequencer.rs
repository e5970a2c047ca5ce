//! Assigning seqs.

use crate::Seq;

/// Assigns seqs, none twice, not even across a crash.
///
/// A publisher learns its packet's seq before the packet is stored, so the next owner must not assign that
/// seq again. An owner therefore reserves seqs in blocks in the meeting's row before it tells any of them to
/// a publisher, and a new owner starts above the reservation. Seqs that nobody learns before their commit
/// (outputs, lifecycle packets) may run ahead of the reservation: the commit that stores them raises it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequencer {
    next: Seq,
    reserved: Seq,
}

impl Sequencer {
    /// How many seqs are reserved at a time.
    pub const BLOCK: u64 = 65_536;

    /// Starts at `next`, with seqs up to `reserved` reserved.
    pub fn new(next: Seq, reserved: Seq) -> Self {
        Self { next, reserved }
    }

    /// A seq for a published packet; `None` while the reservation is used up.
    pub fn external(&mut self) -> Option<Seq> {
        (self.next <= self.reserved).then(|| self.internal())
    }

    /// A seq for a runtime packet or an output, which no publisher learns before it is stored.
    pub fn internal(&mut self) -> Seq {
        let seq = self.next;
        self.next = seq.next();
        seq
    }

    /// The reservation that the next commit should write.
    pub fn wanted(&self) -> Seq {
        if self.is_low() { Seq(self.next.0 + Self::BLOCK) } else { self.reserved }
    }

    /// Whether less than half a block of the reservation is left.
    pub fn is_low(&self) -> bool {
        self.reserved.0.saturating_sub(self.next.0) < Self::BLOCK / 2
    }

    /// Notes that a reservation is stored. A lower one than before changes nothing.
    pub fn reserved(&mut self, up_to: Seq) {
        self.reserved = self.reserved.max(up_to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outside_gets_reserved_seqs_only() {
        let mut seqs = Sequencer::new(Seq(1), Seq(2));
        assert_eq!(seqs.external(), Some(Seq(1)));
        assert_eq!(seqs.external(), Some(Seq(2)));
        assert_eq!(seqs.external(), None);
        assert_eq!(seqs.internal(), Seq(3), "the inside runs ahead");
        let wanted = seqs.wanted();
        assert!(wanted > Seq(3));
        seqs.reserved(wanted);
        assert_eq!(seqs.external(), Some(Seq(4)));
    }

    #[test]
    fn a_reservation_is_raised_before_it_runs_out() {
        let mut seqs = Sequencer::new(Seq(1), Seq(Sequencer::BLOCK));
        assert_eq!(seqs.wanted(), Seq(Sequencer::BLOCK));
        for _ in 0..=Sequencer::BLOCK / 2 {
            seqs.external().unwrap();
        }
        assert!(seqs.wanted() > Seq(Sequencer::BLOCK));
        seqs.reserved(Seq(5));
        assert!(seqs.wanted() > Seq(Sequencer::BLOCK), "it never shrinks");
    }
}
