//! One moment: everything of an answer that can change, read in one snapshot.

use std::collections::{BTreeMap, HashMap, HashSet};

use ruma::{OwnedUserId, UserId};
use starling_storage::{
    Conn, account_data, epochs, facts,
    memberships::{self, MembershipRow},
    receipts::{self, ReceiptRow},
    rooms::{self, RoomRow, partial},
    state, timeline, to_device,
};

use super::{
    connection::{Connection, RoomState},
    lists::{Candidate, Windows},
    request::Request,
    traits,
};
use crate::{
    Engine, Internal,
    encryption::news::{self, DeviceLists, Supply},
    reading::{
        access::{Asking, ignored_users},
        token::SyncToken,
    },
    rooms::{
        membership::permission::Permission,
        unread::{self, Unread},
    },
};

/// How many messages to the device one answer has at most.
const MOST_MESSAGES: u64 = 100;

/// What was true at one position.
#[derive(Debug, Default)]
pub(super) struct Moment {
    /// The position.
    pub(super) head: i64,
    /// The position up to which the client has seen what its connection says is sent.
    pub(super) since: Option<i64>,
    /// The token that says: everything up to here.
    pub(super) token: SyncToken,
    /// How much of the lists of typing users was seen by the client.
    pub(super) typing_since: u64,
    /// Users whose messages are not shown.
    pub(super) ignored: HashSet<OwnedUserId>,
    /// Every room that may be shown, by its ID.
    pub(super) candidates: HashMap<String, Candidate>,
    /// Rooms whose timeline or state is new, of those that the user is joined to.
    pub(super) moved: HashSet<String>,
    /// What the request shows.
    pub(super) windows: Windows,
    /// Direct chats.
    pub(super) direct: HashSet<String>,
    /// The joined rooms that are shown and in which something may be new.
    pub(super) rooms: HashMap<String, RoomRow>,
    /// The root of each shown room's state when it was sent last.
    pub(super) roots: HashMap<String, i64>,
    /// Current state of the types that are wanted as a whole, of rooms of which all of it may be told.
    pub(super) of_types: HashMap<String, Vec<(String, String, String)>>,
    /// What is unread in shown rooms.
    pub(super) unread: HashMap<String, Unread>,
    /// New receipts by room; those before `since` too where none were sent.
    pub(super) receipts: HashMap<String, Vec<ReceiptRow>>,
    /// New account data by room; `""` is global.
    pub(super) account_data: HashMap<String, Vec<(String, String)>>,
    /// All account data of rooms of which none was sent.
    pub(super) all_account_data: HashMap<String, Vec<(String, String)>>,
    /// Messages to the device, and where they stand.
    pub(super) to_device: Vec<(i64, String)>,
    /// Whose devices changed.
    pub(super) device_lists: DeviceLists,
    /// How many keys the device has for others.
    pub(super) supply: Supply,
    /// Memberships of which it has to be found out whether they ended a join.
    pub(super) unresolved: Vec<MembershipRow>,
}

impl Moment {
    /// Reads the present.
    pub(super) async fn read(
        engine: &Engine,
        asking: Asking<'_>,
        request: &Request,
        connection: &Connection,
    ) -> Result<Self, Internal> {
        let user_id = asking.user_id;
        // What is typed after this is seen the next time.
        let typing = engine.typing.serial();
        let mut conn = engine.storage.snapshot().await?;
        let mut moment = Self { head: facts::head(&mut conn).await?, ..Self::default() };
        let epochs = epochs::all(&mut conn).await?;
        moment.token = SyncToken {
            pos: moment.head,
            epoch: epochs.last().map_or(0, |epoch| epoch.epoch),
            typing,
            instance: engine.typing.instance().to_owned(),
            ..SyncToken::default()
        };
        if let Some(pos) = &request.pos {
            moment.since = Some(pos.seen.clamped(&epochs, moment.head));
            let is_ours = pos.seen.instance == engine.typing.instance();
            moment.typing_since = if is_ours { pos.seen.typing } else { 0 };
        }
        let rows = memberships::of_user(&mut conn, user_id.as_str()).await?;
        moment.read_device(&mut conn, asking, request, &rows).await?;
        moment.ignored = ignored_users(&mut conn, user_id).await?;
        moment.direct = traits::direct(&mut conn, user_id, &rows).await?;
        let ordered = moment.order(engine, &mut conn, user_id, connection, rows).await?;
        let direct = moment.direct.clone();
        let traits = traits::read(&mut conn, user_id, request, &ordered, direct).await?;
        moment.windows = Windows::new(request, &ordered, &traits);
        moment.hide_incomplete(&mut conn).await?;
        moment.candidates =
            ordered.into_iter().map(|room| (room.row.room_id.clone(), room)).collect();
        moment.read_account_data(&mut conn, user_id, request, connection).await?;
        moment.read_receipts(&mut conn, connection).await?;
        moment.read_rooms(&mut conn, user_id, connection).await?;
        Ok(moment)
    }

    /// The rooms that may be shown, the most active first.
    async fn order(
        &mut self,
        engine: &Engine,
        conn: &mut Conn,
        user_id: &UserId,
        connection: &Connection,
        rows: Vec<MembershipRow>,
    ) -> Result<Vec<Candidate>, Internal> {
        let permission = Permission::read(conn, user_id).await?;
        let joined: Vec<String> = joined(&rows);
        let newest: HashMap<String, i64> =
            timeline::newest_positions(conn, &joined).await?.into_iter().collect();
        if let Some(since) = self.since {
            let changed = state::changed(conn, &joined, since, self.head).await?;
            let moved = newest.iter().filter(|(_, pos)| **pos > since);
            self.moved = moved.map(|(room_id, _)| room_id.clone()).chain(changed).collect();
        }
        let mut ordered = Vec::with_capacity(rows.len());
        for row in rows {
            let sent = connection.state.room(&row.room_id).events.is_any();
            let listed = match row.membership.as_str() {
                "join" | "knock" => true,
                "invite" if permission.shows(&row.sender, &self.ignored) => true,
                "invite" => continue,
                _ if sent => true,
                _ if row.forgotten => continue,
                // Who left knows that they did.
                "leave" if row.sender == row.user_id => false,
                _ => match engine.sliding.ended_joins.get(&row.event_id) {
                    Some(ended_join) => ended_join,
                    None => {
                        self.unresolved.push(row);
                        continue;
                    }
                },
            };
            let newest = newest.get(&row.room_id).filter(|_| row.membership == "join");
            let activity = newest.copied().unwrap_or(row.pos);
            ordered.push(Candidate { row, activity, listed });
        }
        ordered.sort_by(|a, b| (b.activity, &b.row.room_id).cmp(&(a.activity, &a.row.room_id)));
        Ok(ordered)
    }

    /// What is for one device only.
    async fn read_device(
        &mut self,
        conn: &mut Conn,
        asking: Asking<'_>,
        request: &Request,
        rows: &[MembershipRow],
    ) -> Result<(), Internal> {
        let user_id = asking.user_id;
        if let Some(since) = self.since.filter(|_| request.extensions.e2ee) {
            let span = (since, self.head);
            self.device_lists = news::device_lists(conn, user_id, rows, span).await?;
        }
        let Some(device) = asking.device_id else { return Ok(()) };
        if request.extensions.e2ee {
            self.supply = news::supply(conn, user_id, device).await?;
        }
        if let Some(wanted) = request.extensions.to_device {
            let (user, device) = (user_id.as_str(), device.as_str());
            let span = (wanted.since.unwrap_or(0).min(self.head), self.head);
            let limit = wanted.limit.unwrap_or(MOST_MESSAGES).clamp(1, MOST_MESSAGES);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            self.to_device = to_device::waiting(conn, user, device, span, limit).await?;
        }
        Ok(())
    }

    /// Who wants all members of a room is not shown it before they are known.
    async fn hide_incomplete(&mut self, conn: &mut Conn) -> Result<(), Internal> {
        let shown = self.windows.rooms.iter();
        let whole = shown.filter(|(_, shown)| shown.config.wants_all_members());
        let whole: Vec<String> = whole.map(|(room_id, _)| room_id.clone()).collect();
        if whole.is_empty() {
            return Ok(());
        }
        for (room_id, is_partial) in partial::incomplete_after(conn, &whole, i64::MAX).await? {
            if is_partial {
                self.windows.rooms.remove(&room_id);
            }
        }
        Ok(())
    }

    async fn read_rooms(
        &mut self,
        conn: &mut Conn,
        user_id: &UserId,
        connection: &Connection,
    ) -> Result<(), Internal> {
        let (mut joined, mut restated) = (vec![], vec![]);
        let mut kinds: HashSet<String> = HashSet::new();
        let mut sent_at: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for (room_id, shown) in &self.windows.rooms {
            let sent = connection.state.room(room_id);
            let until = sent.events.until(self.since);
            let is_restated = connection.state.config(&sent) != Some(&shown.config);
            if self.is_joined(room_id) {
                let is_quiet = !is_restated && !self.may_be_new(room_id, &sent);
                if is_quiet && shown.config.timeline_limit <= sent.timeline {
                    continue;
                }
                joined.push(room_id.clone());
                if until.is_none() || is_restated {
                    restated.push(room_id.clone());
                    kinds.extend(shown.config.places().kinds);
                }
            }
            if let Some(until) = until {
                sent_at.entry(until).or_default().push(room_id.clone());
            }
        }
        let mut rows = rooms::get_many(conn, &joined).await?;
        partial::count_unseen(conn, &mut rows).await?;
        self.rooms = rows.into_iter().map(|row| (row.room_id.clone(), row)).collect();
        self.unread = unread::count(conn, user_id, &joined).await?;
        for (pos, rooms) in sent_at {
            self.roots.extend(state::roots_at(conn, &rooms, pos).await?);
        }
        self.read_types(conn, restated, kinds).await
    }

    /// What stands in the state of rooms at types that are wanted as a whole.
    async fn read_types(
        &mut self,
        conn: &mut Conn,
        rooms: Vec<String>,
        kinds: HashSet<String>,
    ) -> Result<(), Internal> {
        let kinds: Vec<String> = kinds.into_iter().collect();
        let found = match kinds.is_empty() {
            true => vec![],
            false => state::current_of_types(conn, &rooms, &kinds).await?,
        };
        self.of_types = rooms.into_iter().map(|room_id| (room_id, vec![])).collect();
        for (room_id, kind, state_key, event_id) in found {
            self.of_types.entry(room_id).or_default().push((kind, state_key, event_id));
        }
        Ok(())
    }

    /// Whether something may be new in a room that is shown and was sent.
    fn may_be_new(&self, room_id: &str, sent: &RoomState) -> bool {
        let until = sent.events.until(self.since);
        until.is_none()
            || until != self.since
            || self.moved.contains(room_id)
            || self.candidates.get(room_id).is_some_and(|room| self.happened(room))
            || self.direct.contains(room_id) != sent.is_dm
            || self.receipts.contains_key(room_id)
    }

    async fn read_account_data(
        &mut self,
        conn: &mut Conn,
        user_id: &UserId,
        request: &Request,
        connection: &Connection,
    ) -> Result<(), Internal> {
        let (user, after) = (user_id.as_str(), self.since.unwrap_or(0));
        for (room_id, kind, content) in account_data::between(conn, user, after, self.head).await? {
            self.account_data.entry(room_id).or_default().push((kind, content));
        }
        let Some(scope) = &request.extensions.account_data else { return Ok(()) };
        if self.since.is_none() {
            self.all_account_data = std::mem::take(&mut self.account_data);
            return Ok(());
        }
        let mut places = vec![];
        if !connection.state.account_data.is_all() {
            places.push(String::new());
        }
        for (room_id, shown) in &self.windows.rooms {
            let is_all = connection.state.room(room_id).account_data.is_all();
            if !is_all && scope.holds(room_id, &shown.lists, shown.subscribed) {
                places.push(room_id.clone());
            }
        }
        for room_id in places {
            let mut all = account_data::of_room(conn, user, &room_id).await?;
            all.retain(|(_, content)| content != account_data::REMOVED);
            self.all_account_data.insert(room_id, all);
        }
        Ok(())
    }

    /// New receipts in rooms that are shown, and in those whose receipts were sent.
    async fn read_receipts(
        &mut self,
        conn: &mut Conn,
        connection: &Connection,
    ) -> Result<(), Internal> {
        let Some(since) = self.since else { return Ok(()) };
        let mut rooms: HashSet<String> = self.shown_joined().into_iter().collect();
        let sent = connection.state.rooms().filter(|(_, room)| room.receipts.is_all());
        rooms.extend(sent.map(|(room_id, _)| room_id.clone()));
        let rooms: Vec<String> = rooms.into_iter().collect();
        for row in receipts::between(conn, &rooms, since, self.head).await? {
            self.receipts.entry(row.room_id.clone()).or_default().push(row);
        }
        Ok(())
    }

    fn shown_joined(&self) -> Vec<String> {
        let shown = self.windows.rooms.keys();
        shown.filter(|room_id| self.is_joined(room_id)).cloned().collect()
    }

    /// Whether the user is joined to a room that may be shown.
    pub(super) fn is_joined(&self, room_id: &str) -> bool {
        self.candidates.get(room_id).is_some_and(|room| room.row.membership == "join")
    }

    /// Whether something happened in a room since the client's `pos`.
    pub(super) fn happened(&self, room: &Candidate) -> bool {
        let since = self.since.unwrap_or(0);
        room.row.pos > since || self.moved.contains(&room.row.room_id)
    }

    /// The rooms that the user is joined to.
    pub(super) fn joined(&self) -> Vec<String> {
        let joined = self.candidates.values().filter(|room| room.row.membership == "join");
        joined.map(|room| room.row.room_id.clone()).collect()
    }
}

fn joined(rows: &[MembershipRow]) -> Vec<String> {
    let joined = rows.iter().filter(|row| row.membership == "join");
    joined.map(|row| row.room_id.clone()).collect()
}
