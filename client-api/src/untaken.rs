//! Answers that their clients have not taken: whoever asks for much again and again, and reads none of it, fills
//! no more than a bounded part of the memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody as _, to_bytes},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use ruma::{OwnedUserId, UserId};

use crate::error::Error;

/// From this length on an answer is counted, in bytes; what is sent in pieces, such as a file, never is.
const LONG: u64 = 64 << 10;

/// A user who has not taken so many bytes, in [`FEW`] answers or more, gets no further long one.
const MOST: u64 = 16 << 20;

/// So many answers a user may have that are as long as they are: several devices with a slow network may each be
/// at their first /sync.
const FEW: usize = 4;

/// When to ask again: by then a connection that takes something has taken more.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// So much untaken by all users together is enough to refuse whoever has [`FEW`] long answers.
const MOST_OF_ALL: u64 = 64 << 20;

/// In the extensions of an answer that cannot be had again, as what it gives was used up: never refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Once;

/// What each user has not taken of long answers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Untaken(Arc<Mutex<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    all: u64,
    users: HashMap<OwnedUserId, Sum>,
}

#[derive(Debug, Default)]
struct Sum {
    answers: usize,
    bytes: u64,
}

impl Untaken {
    /// The answer for a user, counted until the connection has taken it, or a refusal in its place.
    pub(crate) async fn hold(&self, user: &UserId, response: Response) -> Response {
        let length = response.body().size_hint().exact().unwrap_or_default();
        if length < LONG {
            return response;
        }
        let is_refusable = response.extensions().get::<Once>().is_none();
        let Some(place) = self.take(user, length, is_refusable) else {
            return Error::limit_exceeded(AGAIN_AFTER).into_response();
        };
        let (parts, body) = response.into_parts();
        // It is there, all of it: its length was known.
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => {
                let held = Bytes::from_owner(Held { bytes, _place: place });
                Response::from_parts(parts, Body::from(held))
            }
            Err(error) => Error::internal(error).into_response(),
        }
    }

    fn take(&self, user: &UserId, length: u64, is_refusable: bool) -> Option<Place> {
        let mut sums = self.lock();
        let is_crowded = sums.all >= MOST_OF_ALL;
        let of_user = sums.users.entry(user.to_owned()).or_default();
        let has_much = of_user.answers >= FEW && (of_user.bytes >= MOST || is_crowded);
        if has_much && is_refusable {
            return None;
        }
        of_user.answers += 1;
        of_user.bytes += length;
        sums.all += length;
        Some(Place { of: self.clone(), user: user.to_owned(), length })
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer on its way: dropped when the last of it was written, or the connection ended.
struct Held {
    bytes: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that count until this is dropped.
struct Place {
    of: Untaken,
    user: OwnedUserId,
    length: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sums = self.of.lock();
        sums.all -= self.length;
        if let Some(of_user) = sums.users.get_mut(&self.user) {
            of_user.answers -= 1;
            of_user.bytes -= self.length;
            if of_user.answers == 0 {
                sums.users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    async fn answer(untaken: &Untaken, user: &UserId, length: u64) -> Response {
        let bytes = vec![b'a'; usize::try_from(length).unwrap()];
        untaken.hold(user, Response::new(Body::from(bytes))).await
    }

    #[tokio::test]
    async fn who_takes_nothing_gets_no_more() {
        let (untaken, alice) = (Untaken::default(), user_id!("@alice:a.org"));
        let mut answers = Vec::new();
        for _ in 0..FEW {
            answers.push(answer(&untaken, alice, MOST).await);
        }
        assert_eq!(answer(&untaken, alice, LONG).await.status(), 429);
        assert_eq!(answer(&untaken, alice, LONG - 1).await.status(), 200);
        assert_eq!(answer(&untaken, user_id!("@bob:a.org"), LONG).await.status(), 200);
        let first = answers.pop().unwrap();
        assert_eq!(first.status(), 200);
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!(bytes.len() as u64, MOST);
        // It is read, and not yet written.
        assert_eq!(answer(&untaken, alice, LONG).await.status(), 429);
        drop(bytes);
        let next = answer(&untaken, alice, LONG).await;
        assert_eq!(next.status(), 200);
        drop((answers, next));
        let sums = untaken.lock();
        assert!(sums.users.is_empty() && sums.all == 0, "{sums:?}");
    }

    #[tokio::test]
    async fn many_answers_that_are_little_together_are_no_flood() {
        let (untaken, alice) = (Untaken::default(), user_id!("@alice:a.org"));
        let mut answers = Vec::new();
        for _ in 0..MOST / LONG {
            answers.push(answer(&untaken, alice, LONG).await);
        }
        assert!(answers.iter().all(|answer| answer.status() == 200));
        assert_eq!(answer(&untaken, alice, LONG).await.status(), 429);
    }

    #[tokio::test]
    async fn in_a_crowd_everybody_has_a_few() {
        let untaken = Untaken::default();
        let mut answers = Vec::new();
        let users = (0..MOST_OF_ALL / LONG / FEW as u64)
            .map(|number| UserId::parse(format!("@user{number}:a.org")).unwrap());
        let users: Vec<_> = users.collect();
        for user in users.iter().cycle().take(users.len() * FEW) {
            answers.push(answer(&untaken, user, LONG).await);
        }
        assert!(answers.iter().all(|answer| answer.status() == 200));
        assert_eq!(answer(&untaken, &users[0], LONG).await.status(), 429);
        assert_eq!(answer(&untaken, user_id!("@new:a.org"), LONG).await.status(), 200);
    }

    #[tokio::test]
    async fn what_was_used_up_is_given() {
        let (untaken, alice) = (Untaken::default(), user_id!("@alice:a.org"));
        let mut answers = Vec::new();
        for _ in 0..FEW {
            answers.push(answer(&untaken, alice, MOST).await);
        }
        let mut keys = Response::new(Body::from(vec![b'a'; LONG as usize]));
        keys.extensions_mut().insert(Once);
        assert_eq!(untaken.hold(alice, keys).await.status(), 200);
    }

    #[tokio::test]
    async fn what_is_sent_in_pieces_is_not_counted() {
        let (untaken, alice) = (Untaken::default(), user_id!("@alice:a.org"));
        let mut answers = Vec::new();
        for _ in 0..FEW {
            answers.push(answer(&untaken, alice, MOST).await);
        }
        let pieces =
            futures_util::stream::iter([Ok::<_, std::io::Error>(vec![b'a'; LONG as usize])]);
        let response = Response::new(Body::from_stream(pieces));
        assert_eq!(untaken.hold(alice, response).await.status(), 200);
    }
}
