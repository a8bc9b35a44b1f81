//! Hashing and checking passwords (argon2id).
//!
//! One hash costs a core for milliseconds, so hashing has fewer threads than the machine has cores,
//! and a queue that is short enough to be refused: a flood of log-ins stops nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::{Engine, Internal, config::PasswordHashing, rng};

/// How long a password may be, in bytes.
pub const LONGEST: usize = 512;

/// How many may wait for a thread.
const LONGEST_QUEUE: usize = 64;

/// The threads and the queue.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
    meter: Meter,
}

/// Counts what hashing took, for tests: that two answers cost the same, no clock can tell for sure.
#[derive(Clone, Debug, Default)]
struct Meter {
    #[cfg(test)]
    kib: Arc<std::sync::atomic::AtomicU64>,
}

impl Meter {
    fn add(&self, params: &Params) {
        let kib = u64::from(params.m_cost()) * u64::from(params.t_cost());
        #[cfg(test)]
        self.kib.fetch_add(kib, Ordering::SeqCst);
        #[cfg(not(test))]
        let _ = kib;
    }
}

impl Default for Pool {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)));
        Self { threads, waiting: AtomicUsize::new(0), meter: Meter::default() }
    }
}

/// Why a password was neither hashed nor checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Whether a password may be set: neither empty nor longer than [`LONGEST`].
#[must_use]
pub fn is_acceptable(password: &str) -> bool {
    !password.is_empty() && password.len() <= LONGEST
}

/// The PHC string of a password.
pub(crate) async fn hash(engine: &Engine, password: String) -> Result<String, PasswordError> {
    let cost = engine.config.password_hashing;
    let meter = engine.accounts.passwords.meter.clone();
    in_pool(engine, move || hash_now(cost, &password, &meter)).await?
}

/// Whether `password` is the one that was hashed. Without a hash, or with a password that can be
/// nobody's, the answer is no and costs the same.
pub(crate) async fn verify(
    engine: &Engine,
    password: String,
    hash: Option<String>,
) -> Result<bool, PasswordError> {
    let cost = engine.config.password_hashing;
    let meter = engine.accounts.passwords.meter.clone();
    let Some(hash) = hash.filter(|_| is_acceptable(&password)) else {
        return in_pool(engine, move || hash_now(cost, "nobody's password", &meter).map(|_| false))
            .await?;
    };
    in_pool(engine, move || Ok(verify_now(&password, &hash, &meter))).await?
}

fn hash_now(cost: PasswordHashing, password: &str, meter: &Meter) -> Result<String, PasswordError> {
    let salt = rng::bytes::<16>();
    let damaged = |error: String| Internal::Damaged(format!("argon2: {error}"));
    let params = Params::new(cost.memory_kib, cost.iterations, 1, None)
        .map_err(|error| damaged(error.to_string()))?;
    meter.add(&params);
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| damaged(error.to_string()))?;
    Ok(hash.to_string())
}

/// The comparison takes the same time wherever the hashes differ; the hash says what it cost.
fn verify_now(password: &str, hash: &str, meter: &Meter) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    if let Ok(params) = Params::try_from(&hash) {
        meter.add(&params);
    }
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

async fn in_pool<T: Send + 'static>(
    engine: &Engine,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PasswordError> {
    let pool = &engine.accounts.passwords;
    let _place = Place::take(&pool.waiting)?;
    let permit = pool.threads.clone().acquire_owned().await;
    let permit = permit.map_err(|_| PasswordError::Busy)?;
    let work = move || {
        let _permit = permit;
        work()
    };
    let failed = |error: tokio::task::JoinError| Internal::Damaged(error.to_string());
    Ok(tokio::task::spawn_blocking(work).await.map_err(failed)?)
}

/// A place in the queue, given back when dropped.
struct Place<'q>(&'q AtomicUsize);

impl<'q> Place<'q> {
    fn take(waiting: &'q AtomicUsize) -> Result<Self, PasswordError> {
        if waiting.fetch_add(1, Ordering::SeqCst) >= LONGEST_QUEUE {
            waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(PasswordError::Busy);
        }
        Ok(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::{
        accounts::{admin, devices::NewDevice, login},
        testing::TestEngine,
    };

    #[tokio::test]
    async fn only_the_password_itself_matches() {
        let test = TestEngine::new().await.unwrap();
        let engine = &test.engine;
        let hash = hash(engine, "correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        for (password, is_it) in
            [("correct horse", true), ("correct hors", false), ("", false), ("\0", false)]
        {
            let answer = verify(engine, password.to_owned(), Some(hash.clone())).await.unwrap();
            assert_eq!(answer, is_it, "{password:?}");
        }
        assert!(!verify(engine, "correct horse".to_owned(), None).await.unwrap());
        assert!(!verify(engine, "x".to_owned(), Some(String::new())).await.unwrap());
        assert!(!verify(engine, "x".repeat(LONGEST + 1), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobodys_password_takes_the_same_work_as_a_wrong_one() {
        let test = TestEngine::new().await.unwrap();
        let engine = &test.engine;
        let password = Some("secret".to_owned());
        admin::create_user(engine, "alice", password, false).await.unwrap();
        admin::create_user(engine, "bot", None, false).await.unwrap();
        let kib = || engine.accounts.passwords.meter.kib.load(Ordering::SeqCst);
        let mut answers = Vec::new();
        for (name, password) in [
            ("alice", "wrong".to_owned()),
            ("nobody", "secret".to_owned()),
            ("@nobody:test", "secret".to_owned()),
            ("@alice:elsewhere", "secret".to_owned()),
            ("bot", "secret".to_owned()),
            ("", "secret".to_owned()),
            ("alice", String::new()),
            ("alice", "x".repeat(LONGEST + 1)),
        ] {
            let before = kib();
            let device = NewDevice::default();
            let refused =
                login::with_password(engine, &name.into(), password, device).await.err().unwrap();
            answers.push((refused.to_string(), kib() - before));
        }
        let cost = engine.config.password_hashing;
        let whole = u64::from(cost.memory_kib * cost.iterations);
        for (number, (refused, work)) in answers.iter().enumerate() {
            assert_eq!((refused, *work), (&answers[0].0, whole), "{number}");
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_empties() {
        let test = TestEngine::new().await.unwrap();
        let threads = &test.engine.accounts.passwords.threads;
        let flood = (0..200).map(|_| verify(&test.engine, "x".to_owned(), None));
        // Nothing is hashed until all have come.
        let all = u32::try_from(threads.available_permits()).unwrap();
        let held = threads.acquire_many(all).await.unwrap();
        let (answers, ()) = tokio::join!(join_all(flood), async { drop(held) });
        let busy = answers.iter().filter(|a| matches!(a, Err(PasswordError::Busy))).count();
        assert_eq!(busy, 200 - LONGEST_QUEUE);
        verify(&test.engine, "x".to_owned(), None).await.unwrap();
    }
}
