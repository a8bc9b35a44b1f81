//! The timeline of a room: the newest events since the last /sync.

use std::collections::HashSet;

use serde_json::value::RawValue;
use starling_storage::{rooms::are_backward_extremities, timeline::Entry};

use crate::{
    Internal,
    reading::{
        reader::Reader,
        scan::{Path, Wanted},
        show::Seen,
        token::PageToken,
    },
    sync::{Sync, answer},
};

/// How many events of a room are sent when the client does not say.
const DEFAULT_LIMIT: usize = 10;

/// How many events of a room are sent at most.
const LARGEST_LIMIT: usize = 100;

/// A stretch of a timeline, the oldest event first.
pub(in crate::sync) struct Stretch {
    pub(in crate::sync) events: Vec<Seen>,
    pub(in crate::sync) limited: bool,
    pub(in crate::sync) prev: Option<PageToken>,
}

impl Stretch {
    /// The newest events with `after < pos <= until` that the user may and wants to see.
    pub(super) async fn read(
        sync: &Sync<'_>,
        reader: &mut Reader,
        after: i64,
        until: i64,
    ) -> Result<Self, Internal> {
        Self::find(reader, Self::wanted(sync), (after, until)).await
    }

    /// The same of a stretch of which all places are known, and where nothing is missing before any event.
    pub(super) async fn known(
        sync: &Sync<'_>,
        reader: &mut Reader,
        entries: &[Entry],
    ) -> Result<Self, Internal> {
        Self::collect(reader, Self::wanted(sync), Path::Known(entries), sync.moment.head).await
    }

    fn wanted<'a>(sync: &'a Sync<'_>) -> Wanted<'a> {
        let filter = &sync.request.filter.room.timeline;
        let limit = filter.limit(DEFAULT_LIMIT, LARGEST_LIMIT);
        Wanted { filter, ignored: &sync.moment.ignored, limit }
    }

    /// The newest events with `after < pos <= until` of those that are wanted.
    pub(in crate::sync) async fn find(
        reader: &mut Reader,
        wanted: Wanted<'_>,
        (after, until): (i64, i64),
    ) -> Result<Self, Internal> {
        let mut stretch =
            Self::collect(reader, wanted, Path::Newest { after, until }, until).await?;
        stretch.cut_at_gap(reader).await?;
        Ok(stretch)
    }

    async fn collect(
        reader: &mut Reader,
        wanted: Wanted<'_>,
        path: Path<'_>,
        until: i64,
    ) -> Result<Self, Internal> {
        let limit = wanted.limit;
        // One more tells whether there are more.
        let wanted = Wanted { limit: limit + 1, ..wanted };
        let found = reader.scan(path, wanted).await?;
        let mut events = found.events;
        let limited = events.len() > limit || !found.complete;
        events.truncate(limit);
        events.reverse();
        let prev = match events.first() {
            Some(first) => Some(before(first)),
            None if limit == 0 => Some(PageToken::Position(until)),
            None => found.last.map(|(_, pos)| PageToken::Position(pos.saturating_sub(1))),
        };
        Ok(Self { events, limited, prev })
    }

    /// Says that there is more than the client has if the stretch begins before this position.
    pub(super) fn limited_if_before(mut self, since: i64) -> Self {
        self.limited |= self.events.first().is_some_and(|first| first.pos <= since);
        self
    }

    /// Only these events.
    pub(in crate::sync) fn of(events: Vec<Seen>) -> Self {
        Self { events, limited: false, prev: None }
    }

    /// Begins after the last place where events are missing here, so that the client asks for them.
    async fn cut_at_gap(&mut self, reader: &Reader) -> Result<(), Internal> {
        let prev = self.events.iter().flat_map(|seen| &seen.event.pdu.prev_events);
        let prev: Vec<String> = prev.map(ToString::to_string).collect();
        let mut conn = reader.engine.storage.read().await?;
        let room_id = reader.room_id.as_str();
        let missing = are_backward_extremities(&mut conn, room_id, &prev).await?;
        drop(conn);
        let missing: HashSet<&str> = missing.iter().map(String::as_str).collect();
        let is_after_gap = |seen: &Seen| {
            seen.event.pdu.prev_events.iter().any(|prev| missing.contains(prev.as_str()))
        };
        if let Some(index) = self.events.iter().rposition(is_after_gap) {
            self.events.drain(..index);
            self.limited = true;
            self.prev = self.events.first().map(before);
        }
        Ok(())
    }

    /// As it is answered.
    pub(super) async fn show(
        &self,
        sync: &Sync<'_>,
        reader: &mut Reader,
    ) -> Result<answer::Timeline, Internal> {
        // Of a timeline without gaps the client knows what relates to its events.
        let events: Vec<Box<RawValue>> = match self.limited {
            true => reader.show_bundled(&self.events, &sync.form, &sync.moment.ignored).await?,
            false => reader.show(&self.events, &sync.form).await?,
        };
        let prev_batch = self.prev.map(|token| token.to_string());
        Ok(answer::Timeline { events, limited: self.limited, prev_batch })
    }
}

fn before(seen: &Seen) -> PageToken {
    PageToken::Position(seen.pos.saturating_sub(1))
}
