//! What the reading half of a connection has for the writing half.
//!
//! Both halves are polled in one task, the reading one first, so the writing half sees an answer without being woken. A channel
//! would wake the task that runs just now, and so have it run once more for each frame.

use std::{
    collections::VecDeque,
    future,
    task::{Poll, Waker},
};

use parking_lot::Mutex;

/// A queue with a bound. When it is full, the reading half waits.
pub(super) struct Answers<T> {
    most: usize,
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    answers: VecDeque<T>,
    /// The reading half, while it waits for room.
    for_room: Option<Waker>,
}

impl<T> Answers<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::new(Waiting { answers: VecDeque::new(), for_room: None }) }
    }

    /// Adds an answer once there is room.
    pub(super) async fn put(&self, answer: T) {
        let mut answer = Some(answer);
        future::poll_fn(|cx| {
            let mut waiting = self.waiting.lock();
            if waiting.answers.len() >= self.most {
                waiting.for_room = Some(cx.waker().clone());
                return Poll::Pending;
            }
            waiting.answers.extend(answer.take());
            Poll::Ready(())
        })
        .await;
    }

    /// Takes the next answer, if there is one.
    pub(super) fn take(&self) -> Option<T> {
        let mut waiting = self.waiting.lock();
        let answer = waiting.answers.pop_front();
        if let Some(reader) = waiting.for_room.take() {
            reader.wake();
        }
        answer
    }

    /// Takes the next answer once there is one. Whoever waits here is to be polled after the reading half, in the same task.
    pub(super) async fn next(&self) -> T {
        future::poll_fn(|_| self.take().map_or(Poll::Pending, Poll::Ready)).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_waits_for_room_and_keeps_the_order() {
        let answers = Answers::new(2);
        answers.put(1).await;
        answers.put(2).await;
        let mut third = pin!(answers.put(3));
        assert!(futures::poll!(third.as_mut()).is_pending());
        assert_eq!(answers.next().await, 1);
        third.await;
        assert_eq!([answers.take(), answers.take(), answers.take()], [Some(2), Some(3), None]);
        assert!(futures::poll!(pin!(answers.next())).is_pending());
    }
}
