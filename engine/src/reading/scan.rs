//! Reading on in a room's timeline until enough was found that the reader may and wants to see.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedUserId};
use starling_storage::{
    relations::{self, Related, RelatedBy},
    timeline::{self, Direction, Entry, Range},
};

use super::{filter::EventFilter, reader::Reader, show::Seen, token::PageToken};
use crate::{
    Internal,
    events::{StoredEvent, store},
};

/// How many events one request looks at at most, however few of them it may show.
const MAX_SCANNED: usize = 2_000;

/// How many rows are read at a time at least.
const SMALLEST_CHUNK: usize = 20;

/// In which order, and from where to where.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// /sync's: from the newest event with `after < pos <= until` back.
    Newest {
        /// Everything after this position.
        after: i64,
        /// Everything up to this position.
        until: i64,
    },
    /// The same, of places that were read already.
    Known(&'a [Entry]),
    /// /messages'.
    History {
        /// Where the page begins, and its limits.
        range: Range,
        /// Where it ends at the latest.
        to: Option<PageToken>,
    },
    /// As /messages', but only what relates to an event.
    Related {
        /// Where the page begins, and its limits.
        range: Range,
        /// Where it ends at the latest.
        to: Option<PageToken>,
        /// To which event, and how.
        to_event: Related<'a>,
    },
}

/// What is wanted of the events on the way.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The client's filter.
    pub filter: &'a EventFilter,
    /// Users whose events, but for state, are not shown.
    pub ignored: &'a HashSet<OwnedUserId>,
    /// How many at most.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The events, in the order of the path.
    pub events: Vec<Seen>,
    /// Depth and position of the last event that was looked at.
    pub last: Option<(i64, i64)>,
    /// Whether the path ended there.
    pub complete: bool,
}

impl Reader {
    /// Follows a path until `limit` events are found, the path ends, or too many were looked at.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn scan(
        &mut self,
        mut path: Path<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Found, Internal> {
        let mut found = Found::default();
        let mut scanned = 0;
        while found.events.len() < wanted.limit && scanned < MAX_SCANNED {
            let missing = wanted.limit - found.events.len();
            let size = missing.max(SMALLEST_CHUNK).min(MAX_SCANNED - scanned);
            let chunk = self.chunk(path, size).await?;
            scanned += chunk.len();
            let ended = chunk.len() < size;
            let related = self.related(&chunk, wanted.filter).await?;
            let events = self.events(&chunk).await?;
            for entry in chunk {
                if !path.holds(&entry) {
                    found.complete = true;
                    return Ok(found);
                }
                if found.events.len() == wanted.limit {
                    return Ok(found);
                }
                found.last = Some((entry.depth, entry.pos));
                // What has just been purged is no more.
                let Some(event) = events.get(&entry.event_id) else { continue };
                if related.as_ref().is_none_or(|related| related.contains(&entry.event_id)) {
                    found.events.extend(self.judge(event, &entry, wanted).await?);
                }
            }
            if ended {
                found.complete = true;
                return Ok(found);
            }
            path = path.continued(found.last);
        }
        Ok(found)
    }

    async fn chunk(&self, path: Path<'_>, size: usize) -> Result<Vec<Entry>, Internal> {
        let limit = i64::try_from(size).unwrap_or(i64::MAX);
        let room_id = self.room_id.as_str();
        let reading = self.engine.storage.read();
        Ok(match path {
            Path::Known(entries) => entries.iter().take(size).cloned().collect(),
            Path::Newest { after, until } => {
                timeline::newest(&mut reading.await?, room_id, after, until, limit).await?
            }
            Path::History { range, .. } => {
                timeline::page(&mut reading.await?, room_id, range, limit).await?
            }
            Path::Related { range, to_event, .. } => {
                relations::page(&mut reading.await?, room_id, to_event, range, limit).await?
            }
        })
    }

    /// The events of a chunk by their IDs.
    async fn events(&self, chunk: &[Entry]) -> Result<HashMap<String, Arc<StoredEvent>>, Internal> {
        let ids = chunk.iter().map(|entry| entry.event_id.as_str().try_into());
        let ids: Vec<OwnedEventId> = ids.collect::<Result<_, _>>()?;
        let events = store::get_many(&self.engine, &self.room_id, &ids).await?;
        Ok(events.into_iter().map(|(id, event)| (id.into(), event)).collect())
    }

    /// Those of the events to which others relate as the filter says; `None` when it says nothing.
    async fn related(
        &self,
        chunk: &[Entry],
        filter: &EventFilter,
    ) -> Result<Option<HashSet<String>>, Internal> {
        if !filter.asks_for_relations() {
            return Ok(None);
        }
        let ids: Vec<String> = chunk.iter().map(|entry| entry.event_id.clone()).collect();
        let mut conn = self.engine.storage.read().await?;
        let by = RelatedBy {
            rel_types: filter.related_by_rel_types.as_deref(),
            senders: filter.related_by_senders.as_deref(),
        };
        let related = relations::related_by(&mut conn, self.room_id.as_str(), &ids, by).await?;
        Ok(Some(related.into_iter().collect()))
    }

    /// The event, if the user may and wants to see it.
    async fn judge(
        &mut self,
        event: &Arc<StoredEvent>,
        entry: &Entry,
        wanted: Wanted<'_>,
    ) -> Result<Option<Seen>, Internal> {
        let pdu = &event.pdu;
        let ignored = pdu.state_key.is_none() && wanted.ignored.contains(&pdu.sender);
        if ignored || !wanted.filter.wants(pdu) {
            return Ok(None);
        }
        let membership = self.sees(event, entry.pos).await?;
        Ok(membership.map(|membership| Seen { event: event.clone(), pos: entry.pos, membership }))
    }
}

impl Path<'_> {
    /// Whether an event is on the path; where one is not, the path has ended.
    fn holds(&self, entry: &Entry) -> bool {
        let (Self::History { range, to } | Self::Related { range, to, .. }) = self else {
            return true;
        };
        let Some(to) = to else { return true };
        let before = to.is_after(entry.depth, entry.pos);
        match (to, range.direction) {
            // The limit is one of positions: such events are left out, and the path goes on.
            (PageToken::Position(_), _) => true,
            (_, Direction::Backward) => !before,
            (_, Direction::Forward) => before,
        }
    }

    /// The rest of the path.
    fn continued(self, last: Option<(i64, i64)>) -> Self {
        let Some((depth, pos)) = last else { return self };
        let from = (depth, pos);
        match self {
            Self::Known(entries) => {
                let at = entries.partition_point(|entry| entry.pos >= pos);
                Self::Known(entries.get(at..).unwrap_or_default())
            }
            Self::Newest { after, .. } => Self::Newest { after, until: pos.saturating_sub(1) },
            Self::History { range, to } => Self::History { range: Range { from, ..range }, to },
            Self::Related { range, to, to_event } => {
                Self::Related { range: Range { from, ..range }, to, to_event }
            }
        }
    }
}
