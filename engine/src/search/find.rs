//! A search: which events answer, page by page.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search>

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    candidates::{Hit, Searcher},
    document::Key,
    index,
    query::Query,
    show::Shown,
    token::{BadSearchToken, Order, Scope, Token},
};
use crate::{
    Engine, Internal,
    reading::{access::Asking, filter::EventFilter},
};

/// How many results a page has when the client does not say.
pub const DEFAULT_LIMIT: usize = 10;

/// How many results a page has at most.
pub const LARGEST_LIMIT: usize = 100;

/// How many results a page has at most when the state of their rooms comes with them.
pub const LARGEST_LIMIT_WITH_STATE: usize = 20;

/// How many events stand around a result on each side when the client does not say.
pub const DEFAULT_CONTEXT: u64 = 5;

/// How many events stand around a result on each side at most.
pub const LARGEST_CONTEXT: u64 = 25;

/// How many bytes what is searched for may have.
pub const LONGEST_TERM: usize = 4_096;

/// How many events one request looks at at most; results beyond them are on later pages, and not
/// counted.
const MOST_CANDIDATES: usize = 2_000;

/// How many of them are looked at at a time.
const CHUNK: usize = 200;

/// How many words to highlight are told at most.
const MOST_HIGHLIGHTS: usize = 100;

/// What results are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupBy {
    /// Their room.
    Room,
    /// Their sender.
    Sender,
}

/// What is wanted around each result.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// How many events before it.
    pub before: u64,
    /// How many events after it.
    pub after: u64,
    /// Whether the profiles that the senders had are wanted.
    pub profiles: bool,
}

/// What is searched.
#[derive(Clone, Debug)]
pub struct SearchRequest<'a> {
    /// The words.
    pub term: &'a str,
    /// Where they may stand.
    pub keys: &'a [Key],
    /// Which events are wanted, and how many.
    pub filter: EventFilter,
    /// What comes first.
    pub order: Order,
    /// What is wanted around the results.
    pub around: Option<Around>,
    /// Whether the state of the results' rooms is wanted.
    pub include_state: bool,
    /// What the results are put together by.
    pub group_by: &'a [GroupBy],
    /// Where the page begins.
    pub from: Option<&'a str>,
}

/// Why a search is refused.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The token is not of this search.
    #[error(transparent)]
    BadToken(#[from] BadSearchToken),
    /// It is longer than [`LONGEST_TERM`].
    #[error("`search_term` is longer than {LONGEST_TERM} bytes")]
    TooLong,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for SearchError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// A page of results, as it is answered.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    /// How many results there are, as far as they were counted.
    pub count: u64,
    /// The words to highlight.
    pub highlights: Vec<String>,
    /// The results.
    pub results: Vec<Shown>,
    /// The state of their rooms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<BTreeMap<String, Vec<Box<RawValue>>>>,
    /// The results put together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeMap<GroupBy, BTreeMap<String, Group>>>,
    /// Where the next page begins; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// Results that belong together.
#[derive(Debug, Default, Serialize)]
pub struct Group {
    /// Where the group goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The place of the group among the others.
    pub order: u64,
    /// The events.
    pub results: Vec<String>,
}

impl Serialize for GroupBy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Room => "room_id",
            Self::Sender => "sender",
        })
    }
}

/// Searches.
///
/// # Errors
///
/// See [`SearchError`].
pub async fn search(
    engine: &Engine,
    asking: Asking<'_>,
    mut request: SearchRequest<'_>,
) -> Result<Found, SearchError> {
    if request.term.len() > LONGEST_TERM {
        return Err(SearchError::TooLong);
    }
    let from = request.from.map(Token::parse).transpose()?;
    if from.as_ref().is_some_and(|from| from.order != request.order) {
        return Err(BadSearchToken.into());
    }
    let until = engine.storage.feed().head();
    index::catch_up(engine).await?;
    let query = Query::parse(request.term);
    narrow(&mut request.filter, from.as_ref());
    let filter = request.filter.clone();
    let mut searcher = Searcher::new(engine, asking, &query, &filter, request.keys).await?;
    let until = from.as_ref().map_or(until, |from| from.until);
    let page = page(&mut searcher, &request, from.as_ref(), until).await?;
    let results = searcher.show(&page.hits, request.around).await?;
    let state = match request.include_state {
        true => Some(searcher.states(&page.hits).await?),
        false => None,
    };
    Ok(Found {
        count: page.count,
        highlights: highlights(&query, &page.hits),
        state,
        groups: groups(&page, request.group_by),
        next_batch: page.next.as_ref().map(ToString::to_string),
        results,
    })
}

/// Within a group only what belongs to it is wanted.
fn narrow(filter: &mut EventFilter, from: Option<&Token>) {
    let (list, id) = match from.map(|from| &from.scope) {
        None | Some(Scope::All) => return,
        Some(Scope::Room(room_id)) => (&mut filter.rooms, room_id),
        Some(Scope::Sender(user_id)) => (&mut filter.senders, user_id),
    };
    let is_wanted = list.as_ref().is_none_or(|list| list.contains(id));
    *list = Some(is_wanted.then(|| id.clone()).into_iter().collect());
}

/// The results of one page.
#[derive(Debug, Default)]
struct Page {
    hits: Vec<Hit>,
    count: u64,
    next: Option<Token>,
}

async fn page(
    searcher: &mut Searcher<'_>,
    request: &SearchRequest<'_>,
    from: Option<&Token>,
    until: i64,
) -> Result<Page, SearchError> {
    let largest = if request.include_state { LARGEST_LIMIT_WITH_STATE } else { LARGEST_LIMIT };
    let limit = request.filter.limit(DEFAULT_LIMIT, largest);
    let before = match (request.order, from) {
        (Order::Recent, Some(from)) => from.pos.min(until.saturating_add(1)),
        _ => until.saturating_add(1),
    };
    let positions = searcher.positions(before, MOST_CANDIDATES).await?;
    let mut hits = vec![];
    // Whoever turns a page has been told how many there are.
    let is_counted = request.order == Order::Recent && from.is_some();
    let mut scanned = 0;
    for chunk in positions.chunks(CHUNK) {
        if is_counted && hits.len() >= limit {
            break;
        }
        scanned += chunk.len();
        hits.extend(searcher.hits(chunk).await?);
    }
    let count = from.map_or(u64::try_from(hits.len()).unwrap_or(u64::MAX), |from| from.count);
    if request.order == Order::Rank {
        hits.sort_by_key(|hit| std::cmp::Reverse((hit.found.rank, hit.pos)));
    }
    hits.retain(|hit| from.is_none_or(|from| from.is_before(hit.found.rank, hit.pos)));
    hits.truncate(limit);
    let last = match hits.last() {
        _ if limit == 0 => None,
        Some(hit) if hits.len() == limit => Some((hit.found.rank, hit.pos)),
        // The page is not full, but there was more than one request may look at.
        _ if request.order == Order::Recent && scanned == MOST_CANDIDATES => {
            positions.last().map(|pos| (0, *pos))
        }
        _ => None,
    };
    let scope = from.map_or(Scope::All, |from| from.scope.clone());
    let order = request.order;
    let next = last.map(|(rank, pos)| Token { order, until, rank, pos, count, scope });
    Ok(Page { hits, count, next })
}

fn groups(page: &Page, by: &[GroupBy]) -> Option<BTreeMap<GroupBy, BTreeMap<String, Group>>> {
    if by.is_empty() {
        return None;
    }
    Some(by.iter().map(|by| (*by, group(page, *by))).collect())
}

fn group(page: &Page, by: GroupBy) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for hit in &page.hits {
        let pdu = &hit.seen.event.pdu;
        let (id, scope) = match by {
            GroupBy::Room => (hit.room_id.to_string(), Scope::Room(hit.room_id.to_string())),
            GroupBy::Sender => (pdu.sender.to_string(), Scope::Sender(pdu.sender.to_string())),
        };
        let order = u64::try_from(groups.len()).unwrap_or(u64::MAX);
        let group = groups.entry(id).or_insert_with(|| Group { order, ..Group::default() });
        group.results.push(pdu.event_id.to_string());
        // The last result of the group on this page stays.
        let (rank, pos) = (hit.found.rank, hit.pos);
        let next = page.next.clone().map(|next| Token { rank, pos, scope, ..next });
        group.next_batch = next.map(|next| next.to_string());
    }
    groups
}

/// The words of the query, and how they are written in the results.
fn highlights(query: &Query, hits: &[Hit]) -> Vec<String> {
    let written = query.written().iter();
    let all = written.chain(hits.iter().flat_map(|hit| &hit.found.words));
    let mut seen = HashSet::new();
    let each = all.filter(|word| seen.insert(word.as_str()));
    each.take(MOST_HIGHLIGHTS).cloned().collect()
}
