//! What /sync is made of, one file for each kind of news.

pub(super) mod account_data;

pub(super) mod ephemeral;

pub(super) mod timeline;

mod state;

pub(super) mod summary;

mod joined;

mod presence;

pub(super) mod left;

pub(super) mod invited;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;

use super::{Answer, Request, Sync, moment::Moment};
use crate::{Engine, Internal, reading::access::Asking, reading::show::Form};

/// Lets each stream say what is new. In a box: whoever waits for news would carry the room that this takes.
pub(super) fn all<'a>(
    engine: &'a Engine,
    asking: Asking<'a>,
    request: &'a Request,
    moment: Moment,
) -> BoxFuture<'a, Result<Answer, Internal>> {
    Box::pin(put_together(engine, asking, request, moment))
}

async fn put_together(
    engine: &Engine,
    asking: Asking<'_>,
    request: &Request,
    moment: Moment,
) -> Result<Answer, Internal> {
    let form = Form::of(&request.filter);
    let sync = Sync { engine, asking, request, form, moment };
    let mut answer = Answer { next_batch: sync.moment.token.to_string(), ..Answer::default() };
    answer.account_data = account_data::global(&sync)?;
    answer.presence = presence::news(&sync)?;
    for json in &sync.moment.to_device {
        answer.to_device.events.push(RawValue::from_string(json.clone())?);
    }
    answer.device_lists = sync.moment.device_lists.clone();
    answer.device_one_time_keys_count = sync.moment.supply.one_time_keys.clone();
    answer.device_unused_fallback_key_types = sync.moment.supply.fallback.clone();
    answer.rooms.join = joined::rooms(&sync).await?;
    answer.rooms.leave = left::rooms(&sync).await?;
    answer.rooms.invite = invited::invites(&sync).await?;
    answer.rooms.knock = invited::knocks(&sync).await?;
    Ok(answer)
}
