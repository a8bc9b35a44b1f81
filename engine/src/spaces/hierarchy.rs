//! A walk through a space, page by page: depth first, each room once.
//!
//! The places where walks stopped are kept in memory: a page continues where the one before ended, so
//! that it costs what it shows, however large the space is. Who comes back too late, or after a
//! restart, begins again.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future;
use moka::sync::Cache;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId};
use serde::Serialize;

use super::{
    child::Child,
    look::{self, Found},
    summary::{Outside, Shown, Summary},
};
use crate::{Engine, internal::Internal, rng};

/// How many rooms a page holds at most, and unless the client says otherwise.
pub const LARGEST_PAGE: usize = 50;

/// How deep a walk goes at most, and unless the client says otherwise.
pub const DEEPEST: usize = 100;

/// How many rooms one walk visits, and how many may be ahead of it.
const MAX_ROOMS: usize = 10_000;

/// How many rooms are visited for one page, shown or not.
const MAX_VISITS: usize = 500;

/// After how many milliseconds other servers are asked no more for a page, even if it has nothing to
/// show: the next one goes on from there.
const PATIENCE_MS: i64 = 15_000;

/// Of how many of the next rooms other servers are asked at the same time.
const AHEAD: usize = 8;

/// How long a walk waits for who stopped it. Users stop to read.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Bytes that all walks that wait may take, and what a room on the way stands for.
const MAX_BYTES: u64 = 32 << 20;
const ROOM_BYTES: usize = 256;

/// What somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only children that their space recommends.
    pub suggested_only: bool,
    /// How many levels below the first room.
    pub max_depth: Option<u64>,
    /// How many rooms at most; not zero.
    pub limit: Option<u64>,
    /// Where an earlier page ended.
    pub from: Option<String>,
}

/// A page.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The rooms.
    pub rooms: Vec<Shown>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// The user may not know of the first room, or there is none.
    #[error("the user may not know of the room")]
    Forbidden,
    /// The token is none, or too old, or somebody else's, or of another walk.
    #[error("the token is not one of this walk")]
    BadToken,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// A page of the hierarchy below a room.
///
/// # Errors
///
/// See [`HierarchyError`].
pub async fn page(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
    wanted: &Wanted,
) -> Result<Page, HierarchyError> {
    let course = Course {
        user_id: user_id.to_owned(),
        room_id: room_id.to_owned(),
        suggested_only: wanted.suggested_only,
        max_depth: bounded(wanted.max_depth, DEEPEST),
    };
    let mut walk = match &wanted.from {
        None => Walk::begin(engine, course).await?,
        Some(token) => engine.spaces.walks.resume(token, &course)?,
    };
    let rooms = walk.page(engine, bounded(wanted.limit, LARGEST_PAGE).max(1)).await?;
    if rooms.is_empty() && wanted.from.is_none() {
        return Err(HierarchyError::Forbidden);
    }
    Ok(Page { rooms, next_batch: engine.spaces.walks.keep(walk) })
}

fn bounded(wanted: Option<u64>, most: usize) -> usize {
    wanted.map_or(most, |wanted| usize::try_from(wanted).unwrap_or(most).min(most))
}

/// What stays the same from page to page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Course {
    user_id: OwnedUserId,
    room_id: OwnedRoomId,
    suggested_only: bool,
    max_depth: usize,
}

/// The walks that wait.
#[derive(Clone, Debug)]
pub struct Walks(Cache<String, Arc<Walk>>);

impl Default for Walks {
    fn default() -> Self {
        let weigh = |_: &String, walk: &Arc<Walk>| {
            let rooms = walk.seen.len() + walk.ahead.len();
            u32::try_from(rooms * ROOM_BYTES).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().weigher(weigh).max_capacity(MAX_BYTES).time_to_idle(KEPT);
        Self(cache.build())
    }
}

impl Walks {
    /// Keeps a walk that has not come to its end. Its token serves more than once: an answer may
    /// have been lost.
    fn keep(&self, mut walk: Walk) -> Option<String> {
        let Walk { ahead, seen, .. } = &mut walk;
        ahead.retain(|step| !seen.contains(&step.room_id));
        if ahead.is_empty() || seen.len() >= MAX_ROOMS {
            return None;
        }
        for step in ahead {
            step.found = None;
        }
        let token = rng::token::<18>();
        self.0.insert(token.clone(), Arc::new(walk));
        Some(token)
    }

    fn resume(&self, token: &str, course: &Course) -> Result<Walk, HierarchyError> {
        let walk = self.0.get(token).filter(|walk| walk.course == *course);
        walk.map(Arc::unwrap_or_clone).ok_or(HierarchyError::BadToken)
    }
}

/// A walk on its way.
#[derive(Clone, Debug)]
struct Walk {
    course: Course,
    seen: HashSet<OwnedRoomId>,
    /// The rooms to visit, the next one last.
    ahead: Vec<Step>,
}

/// A room to visit.
#[derive(Clone, Debug)]
struct Step {
    room_id: OwnedRoomId,
    via: Vec<OwnedServerName>,
    depth: usize,
    /// What the server of its parent told of it.
    told: Option<Arc<Summary>>,
    /// Whether other servers need not be asked: that of its parent says that nobody here has access.
    in_vain: bool,
    /// What was found, once somebody has looked.
    found: Option<Option<Found>>,
}

impl Walk {
    async fn begin(engine: &Engine, course: Course) -> Result<Self, Internal> {
        let room_id = course.room_id.clone();
        let row = look::membership(engine, &course.user_id, &room_id).await?;
        let via = look::servers(row.as_ref(), &room_id, Vec::new());
        let first = Step { room_id, via, depth: 0, told: None, in_vain: false, found: None };
        Ok(Self { course, seen: HashSet::new(), ahead: vec![first] })
    }

    async fn page(&mut self, engine: &Engine, limit: usize) -> Result<Vec<Shown>, Internal> {
        let mut rooms = Vec::new();
        let begun = engine.clock.now_ms();
        for _ in 0..MAX_VISITS {
            let is_late = engine.clock.now_ms() - begun > PATIENCE_MS;
            // The first room is found within the time that servers have, or the walk ends with it.
            if rooms.len() >= limit || (is_late && self.must_look()) {
                break;
            }
            self.look_ahead(engine).await?;
            let Some(step) = self.ahead.pop() else { break };
            if self.seen.len() >= MAX_ROOMS || !self.seen.insert(step.room_id.clone()) {
                continue;
            }
            let Some(found) = step.found.flatten() else { continue };
            if self.may_know(engine, &found.room.summary).await? {
                self.go_into(&found, step.depth);
                rooms.push(found.room.shown(self.course.suggested_only));
            }
        }
        Ok(rooms)
    }

    async fn may_know(&self, engine: &Engine, room: &Summary) -> Result<bool, Internal> {
        let user_id = &self.course.user_id;
        let row = look::membership(engine, user_id, &room.listed.room_id).await?;
        look::may_know(engine, user_id, row.as_ref(), room).await
    }

    /// Whether nobody has looked at the next room yet.
    fn must_look(&self) -> bool {
        self.ahead.last().is_some_and(|step| step.found.is_none())
    }

    /// Looks at the next rooms at once, so that a server that is slow does not hold up each of them.
    async fn look_ahead(&mut self, engine: &Engine) -> Result<(), Internal> {
        if !self.must_look() {
            return Ok(());
        }
        let next = self.ahead.len().saturating_sub(AHEAD)..self.ahead.len();
        let is_new = |step: &Step| step.found.is_none() && !self.seen.contains(&step.room_id);
        let places: Vec<usize> =
            next.filter(|place| self.ahead.get(*place).is_some_and(is_new)).collect();
        let steps = places.iter().filter_map(|place| self.ahead.get(*place));
        let found = future::try_join_all(steps.map(|step| self.find(engine, step))).await?;
        for (place, found) in places.into_iter().zip(found) {
            if let Some(step) = self.ahead.get_mut(place) {
                step.found = Some(found);
            }
        }
        Ok(())
    }

    async fn find(&self, engine: &Engine, step: &Step) -> Result<Option<Found>, Internal> {
        if let Some(found) = look::own(engine, &step.room_id).await? {
            return Ok(Some(found));
        }
        let told = step.told.as_deref().map(|told| (told, without_children(told)));
        // The children of a space are not told with it.
        let is_enough = |told: &Summary| !told.is_space() || step.depth >= self.course.max_depth;
        match told {
            Some((summary, found)) if is_enough(summary) => return Ok(Some(found)),
            None if step.in_vain => return Ok(None),
            _ => {}
        }
        let only = self.course.suggested_only;
        let found = look::elsewhere(engine, &step.room_id, &step.via, only).await;
        Ok(found.or(told.map(|(_, found)| found)))
    }

    /// Puts the children of a room ahead, the first one next.
    fn go_into(&mut self, found: &Found, depth: usize) {
        if depth >= self.course.max_depth {
            return;
        }
        let room_left = MAX_ROOMS.saturating_sub(self.ahead.len());
        let children = found.room.children.iter().filter(|child| {
            (child.suggested || !self.course.suggested_only) && !self.seen.contains(&child.room_id)
        });
        let answer = found.answer.as_ref();
        let step = |child: &Child| Step {
            room_id: child.room_id.clone(),
            via: child.via.clone(),
            depth: depth + 1,
            told: answer.and_then(|it| it.children.get(&child.room_id).cloned()),
            in_vain: answer.is_some_and(|it| it.inaccessible.contains(&child.room_id)),
            found: None,
        };
        let mut steps: Vec<Step> = children.take(room_left).map(step).collect();
        steps.reverse();
        self.ahead.extend(steps);
    }
}

fn without_children(summary: &Summary) -> Found {
    let room = Outside { summary: summary.clone(), children: Vec::new() };
    Found { room: Arc::new(room), answer: None }
}
