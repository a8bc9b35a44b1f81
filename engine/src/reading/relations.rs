//! The events that relate to one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#relationships-api>

use ruma::{EventId, RoomId, api::Direction};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::relations::Related;

use super::{
    access::{Asking, ReadError, ignored_users},
    context,
    filter::EventFilter,
    messages::{beginning, end, range},
    scan::{Path, Wanted},
    show::Form,
    token::PageToken,
};
use crate::Engine;

/// How many events a page has when the client does not say.
pub const DEFAULT_LIMIT: u64 = 20;

/// How many events a page has at most.
pub const LARGEST_LIMIT: u64 = 100;

/// How many relations away events are at most when clients want also indirect ones.
pub const DEEPEST: i64 = 3;

/// Which page is wanted.
#[derive(Clone, Debug)]
pub struct RelationsRequest<'a> {
    /// The event that the others relate to.
    pub event_id: &'a EventId,
    /// How they do.
    pub rel_type: Option<&'a str>,
    /// Of which type they are.
    pub kind: Option<&'a str>,
    /// Whether also events are wanted that relate to it by way of others.
    pub recurse: Option<bool>,
    /// Into the past or the future.
    pub direction: Direction,
    /// Where the page begins; `None`: at the newest or oldest event.
    pub from: Option<PageToken>,
    /// Where it ends at the latest.
    pub to: Option<PageToken>,
    /// How many events at most.
    pub limit: Option<u64>,
}

/// A page, as it is answered.
#[derive(Debug, Serialize)]
pub struct Relations {
    /// The events.
    pub chunk: Vec<Box<RawValue>>,
    /// Where the next page begins; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// Where this page began; `None`: at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// How many relations away was looked, if the client asked for indirect ones or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursion_depth: Option<i64>,
}

/// Reads a page of the events that relate to one.
///
/// # Errors
///
/// [`ReadError::NoSuchEvent`] also when the user may not see the event, or not read the room.
pub async fn page(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    request: RelationsRequest<'_>,
) -> Result<Relations, ReadError> {
    let (mut reader, _, _) = context::find(engine, asking, room_id, request.event_id).await?;
    let ignored = ignored_users(&mut engine.storage.read().await?, asking.user_id).await?;
    let from = request.from.unwrap_or_else(|| beginning(&reader, request.direction));
    let range = range(from, request.to, request.direction);
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, LARGEST_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let depth = request.depth();
    let to_event = Related {
        parent_id: request.event_id.as_str(),
        rel_type: request.rel_type,
        kind: request.kind,
        depth,
    };
    let wanted = Wanted { filter: &EventFilter::default(), ignored: &ignored, limit };
    let found = reader.scan(Path::Related { range, to: request.to, to_event }, wanted).await?;
    Ok(Relations {
        chunk: reader.show_bundled(&found.events, &Form::whole(), &ignored).await?,
        next_batch: end(range, &found, false).map(|end| end.to_string()),
        prev_batch: request.from.map(|from| from.to_string()),
        recursion_depth: request.recurse.map(|_| depth),
    })
}

impl RelationsRequest<'_> {
    fn depth(&self) -> i64 {
        if self.recurse == Some(true) { DEEPEST } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use ruma::OwnedEventId;
    use serde_json::json;

    use super::*;
    use crate::{
        reading::stage::{ALICE, BOB, Stage, asking, ids, on_stage, user},
        rooms::testing::{Draft, draft},
    };

    fn related(sender: &str, rel_type: &str, to: &EventId) -> Draft {
        let relation = json!({ "rel_type": rel_type, "event_id": to });
        let content = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relation });
        Draft { state_key: None, ..draft("m.room.message", sender, "", content) }
    }

    fn request(event_id: &EventId) -> RelationsRequest<'_> {
        RelationsRequest {
            event_id,
            rel_type: None,
            kind: None,
            recurse: None,
            direction: Direction::Backward,
            from: None,
            to: None,
            limit: None,
        }
    }

    async fn read(stage: &Stage, who: &str, request: RelationsRequest<'_>) -> Relations {
        let room_id = &stage.room.room_id;
        page(&stage.engine, asking(&user(who)), room_id, request).await.unwrap()
    }

    fn shown(page: &Relations) -> Vec<String> {
        ids(&serde_json::to_value(&page.chunk).unwrap())
    }

    /// A message, and a chain of messages of which each relates to the one before.
    async fn chain(stage: &mut Stage, length: usize) -> Vec<OwnedEventId> {
        let mut chain = vec![stage.say(ALICE, "first").await.event_id.clone()];
        for _ in 0..length {
            let next = related(ALICE, "m.reference", chain.last().unwrap());
            chain.push(stage.send(next).await.event_id.clone());
        }
        chain
    }

    #[tokio::test]
    async fn pages_in_both_directions_show_each_event_once() {
        on_stage(async |mut stage| {
            let parent = stage.say(ALICE, "parent").await.event_id.clone();
            let mut children = vec![];
            for _ in 0..5 {
                let child = stage.send(related(ALICE, "m.thread", &parent)).await;
                children.push(child.event_id.to_string());
                stage.say(ALICE, "between").await;
            }
            for direction in [Direction::Forward, Direction::Backward] {
                let (mut found, mut from) = (vec![], None);
                loop {
                    let request =
                        RelationsRequest { direction, from, limit: Some(2), ..request(&parent) };
                    let page = read(&stage, ALICE, request).await;
                    assert_eq!(page.prev_batch, from.map(|from| from.to_string()));
                    found.extend(shown(&page));
                    let Some(next) = page.next_batch else { break };
                    from = Some(PageToken::parse(&next).unwrap());
                }
                if direction == Direction::Backward {
                    found.reverse();
                }
                assert_eq!(found, children);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn indirect_relations_are_followed_on_request_and_not_for_ever() {
        on_stage(async |mut stage| {
            let chain = chain(&mut stage, 5).await;
            let page = read(&stage, ALICE, request(&chain[0])).await;
            assert_eq!(shown(&page), [chain[1].as_str()]);
            assert_eq!(page.recursion_depth, None);
            let direct = RelationsRequest { recurse: Some(false), ..request(&chain[0]) };
            let page = read(&stage, ALICE, direct).await;
            assert_eq!((shown(&page).len(), page.recursion_depth), (1, Some(1)));
            let all = RelationsRequest { recurse: Some(true), ..request(&chain[0]) };
            let page = read(&stage, ALICE, all).await;
            assert_eq!(shown(&page), [chain[3].as_str(), chain[2].as_str(), chain[1].as_str()]);
            assert_eq!(page.recursion_depth, Some(DEEPEST));
        })
        .await;
    }

    #[tokio::test]
    async fn every_step_of_the_way_must_be_of_the_wanted_kind() {
        on_stage(async |mut stage| {
            let chain = chain(&mut stage, 1).await;
            let thread = stage.send(related(ALICE, "m.thread", &chain[1])).await.event_id.clone();
            let of = |rel_type, kind| RelationsRequest {
                rel_type,
                kind,
                recurse: Some(true),
                ..request(&chain[0])
            };
            let all = read(&stage, ALICE, of(None, Some("m.room.message"))).await;
            assert_eq!(shown(&all), [thread.as_str(), chain[1].as_str()]);
            let references = read(&stage, ALICE, of(Some("m.reference"), None)).await;
            assert_eq!(shown(&references), [chain[1].as_str()]);
            for none in [of(Some("m.thread"), None), of(Some("m.reference"), Some("m.sticker"))] {
                assert!(shown(&read(&stage, ALICE, none).await).is_empty());
            }
        })
        .await;
    }

    #[tokio::test]
    async fn only_those_are_told_who_may_see() {
        on_stage(async |mut stage| {
            stage.set("m.room.history_visibility", json!({ "history_visibility": "joined" })).await;
            let before = stage.say(ALICE, "before").await.event_id.clone();
            stage.send(related(ALICE, "m.thread", &before)).await;
            stage.member(BOB, BOB, "join").await;
            let parent = stage.say(ALICE, "after").await.event_id.clone();
            let seen = stage.send(related(ALICE, "m.thread", &parent)).await.event_id.clone();
            stage.member(BOB, BOB, "leave").await;
            stage.send(related(ALICE, "m.thread", &parent)).await;
            assert_eq!(shown(&read(&stage, BOB, request(&parent)).await), [seen.as_str()]);
            assert_eq!(shown(&read(&stage, ALICE, request(&parent)).await).len(), 2);
            let room_id = &stage.room.room_id;
            let carol = user("@carol:a.org");
            for (who, event_id) in [(&user(BOB), &before), (&carol, &parent)] {
                let refused = page(&stage.engine, asking(who), room_id, request(event_id)).await;
                assert!(matches!(refused, Err(ReadError::NoSuchEvent)), "{who} {refused:?}");
            }
        })
        .await;
    }
}
