//! Places for the connections of one listener, and who gives one up when all are taken.
//!
//! Opening connections and saying nothing costs next to nothing; it must not keep out those who have something to ask.
//! When there is no place left, the connection that has waited longest for the other end's next request goes. One whose
//! request is being answered is left alone, so a caller needs to be only as quick as it takes to open all places anew.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The places of one listener.
#[derive(Debug)]
pub(crate) struct Places {
    room: Arc<Semaphore>,
    line: Mutex<Line>,
}

/// Connections that wait for a request, longest first.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, CancellationToken>,
}

/// One connection's place, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    gone: CancellationToken,
    /// Its number in the line; none while a request is being answered.
    number: Mutex<Option<u64>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(count)),
            line: Mutex::default(),
        })
    }

    /// A place for a new connection. `None` only when there are no places any more.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Arc<Place>> {
        let permit = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let longest = self.line().waiting.pop_first();
                if let Some((_, longest)) = longest {
                    longest.cancel();
                }
                Arc::clone(&self.room).acquire_owned().await.ok()?
            }
        };
        let place = Place {
            places: Arc::clone(self),
            gone: CancellationToken::new(),
            number: Mutex::new(None),
            _permit: permit,
        };
        place.wait();
        Some(Arc::new(place))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Resolves when the place has to be given up.
    pub(crate) async fn displaced(&self) {
        self.gone.cancelled().await;
    }

    /// A request has come: until its answer is handed over, this connection does not wait.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.leave_line();
        Busy(Arc::clone(self))
    }

    fn wait(&self) {
        let mut line = self.places.line();
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number, self.gone.clone());
        drop(line);
        *self.number() = Some(number);
    }

    fn leave_line(&self) {
        let number = self.number().take();
        if let Some(number) = number {
            self.places.line().waiting.remove(&number);
        }
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_line();
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The body of an answer, whose connection does not wait before it has ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Body,
    pub(crate) _busy: Busy,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_gone(place: &Place) -> bool {
        place.gone.is_cancelled()
    }

    #[tokio::test]
    async fn who_waits_longest_goes_and_who_is_answered_stays() {
        let places = Places::new(3);
        let (a, b, c) = (
            places.take().await,
            places.take().await,
            places.take().await,
        );
        let (a, b, c) = (a.expect("room"), b.expect("room"), c.expect("room"));
        let answered = a.busy();
        let late = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        b.displaced().await;
        assert!(!is_gone(&a) && !is_gone(&c) && !late.is_finished());
        drop(b);
        let late = late.await.expect("ran").expect("room");
        // Answered, it waits again, behind the others.
        drop(answered);
        for longest in [&c, &late, &a] {
            assert!(!is_gone(longest));
            let next = places.take();
            tokio::select! {
                biased;
                _ = next => panic!("there is no room"),
                () = longest.displaced() => {}
            }
        }
        assert!(places.line().waiting.is_empty());
        drop((a, c, late));
        assert_eq!(places.room.available_permits(), 3);
    }

    #[tokio::test]
    async fn while_all_are_answered_newcomers_wait() {
        let places = Places::new(1);
        let only = places.take().await.expect("room");
        let busy = only.busy();
        let late = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        tokio::task::yield_now().await;
        assert!(!is_gone(&only) && !late.is_finished());
        drop(busy);
        drop(only);
        assert!(late.await.expect("ran").is_some());
    }
}
