//! /sync: what happened to a user's rooms and account since a token.
//!
//! [`sync`] reads one [`moment`], lets each of the [`streams`] say what is new, and waits for news when
//! there is none.

pub mod answer;

mod between;

mod caught_up;

pub mod filters;

mod moment;

pub mod old;

pub mod sliding;

mod streams;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub use answer::Answer;
pub(crate) use between::Stretches;
use caught_up::CaughtUp;
pub(crate) use caught_up::CaughtUpDevices;
use moment::Moment;

use crate::{
    Engine, Internal,
    encryption::inbox,
    reading::{access::Asking, filter::Filter, show::Form, token::SyncToken},
};

/// How long a /sync waits at most.
pub const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// What a client asks of /sync.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Where the last /sync ended.
    pub since: Option<SyncToken>,
    /// What is wanted.
    pub filter: Arc<Filter>,
    /// Whether the whole state of all rooms is wanted.
    pub full_state: bool,
    /// As of when state is wanted.
    pub state: StateWanted,
    /// How long to wait for news.
    pub timeout: Duration,
    /// Whether messages to the device are wanted. Those that were seen are removed.
    pub to_device: bool,
}

/// As of when state is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateWanted {
    /// As of the start of the timeline.
    #[default]
    Before,
    /// As of its end.
    After,
    /// The same, under the name that it had before it was in the specification (MSC4222).
    UnstableAfter,
}

/// A /sync answer that is being put together.
struct Sync<'a> {
    engine: &'a Engine,
    asking: Asking<'a>,
    request: &'a Request,
    form: Form,
    moment: Moment,
}

/// Answers with what is new, when something is, and at the latest after the time that the client
/// waits.
///
/// # Errors
///
/// When the database fails.
pub async fn sync(
    engine: &Engine,
    asking: Asking<'_>,
    mut request: Request,
) -> Result<Answer, Internal> {
    let until = tokio::time::Instant::now() + request.timeout.min(LONGEST_WAIT);
    let waits = request.since.is_some() && !request.full_state;
    if let Some(device) = CaughtUp::get(engine, asking, &request)
        && let Some(answer) = device.follow(engine, asking, &request, until).await?
    {
        return Ok(answer);
    }
    loop {
        let registration = engine.notifier.register(asking.user_id);
        let mut moment = Box::pin(Moment::read(engine, asking, &request)).await?;
        if let (Some(until), Some(device)) = (moment.acknowledged.take(), asking.device_id) {
            Box::pin(inbox::acknowledge(engine, asking.user_id, device, until)).await?;
        }
        let token = moment.token.clone();
        // The next request says that these messages have arrived, which removes them.
        let is_awaited = !moment.to_device.is_empty();
        let device = Arc::new(CaughtUp::at(&moment, &request, registration));
        let answer = streams::all(engine, asking, &request, moment).await?;
        let is_news = !waits || !answer.is_empty() || engine.shutdown.is_cancelled();
        if is_news {
            if !is_awaited {
                device.keep(engine, asking);
            }
            engine.measures.sync.read.count();
            return Ok(answer);
        }
        // There was nothing up to here.
        request.since = Some(token);
        if let Some(answer) = device.follow(engine, asking, &request, until).await? {
            device.keep(engine, asking);
            return Ok(answer);
        }
    }
}
