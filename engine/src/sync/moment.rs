//! One moment: everything a /sync answer is made of that can change, read in one snapshot.
//!
//! The rest (events up to a position, states by their roots) never changes and is read afterwards, so
//! that no connection is held while the answer is put together.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma::{DeviceId, OwnedUserId, RoomId, UserId};
use starling_storage::{
    Conn, account_data, epochs, facts,
    memberships::{self, MembershipRow},
    receipts::{self, ReceiptRow},
    rooms::{self, RoomRow, partial},
    state, timeline, to_device,
};

use super::{
    Request,
    between::{self, Between, Span},
    caught_up::Step,
};
use crate::{
    Engine, Internal,
    encryption::news::{self, DeviceLists, Supply},
    presence,
    reading::{
        access::{Asking, ignored_users},
        token::SyncToken,
    },
    rooms::{
        membership::permission::Permission,
        unread::{self, Unread},
    },
};

/// What was true at one position.
#[derive(Debug, Default)]
pub(super) struct Moment {
    /// The position.
    pub(super) head: i64,
    /// The position to continue from; `None` for a first /sync.
    pub(super) since: Option<i64>,
    /// The token that says: everything up to here.
    pub(super) token: SyncToken,
    /// How much of the list of typing users was seen by the client.
    pub(super) typing_since: u64,
    /// How many changes of presence were seen by the client.
    pub(super) presence_since: u64,
    /// Users whose presence is new to the client.
    pub(super) presence: HashSet<OwnedUserId>,
    /// What the user is in all rooms.
    pub(super) memberships: Vec<MembershipRow>,
    /// Rooms in which something may be new: the joined ones of them.
    pub(super) rooms: HashMap<String, RoomRow>,
    /// Rooms whose members have become known since: to a client that wants all of them they are new.
    pub(super) completed: HashSet<String>,
    /// Rooms whose timeline or state is new.
    pub(super) moved: HashSet<String>,
    /// What is new in rooms that were heard of.
    pub(super) stretches: HashMap<String, Arc<Between>>,
    /// The root of each room's state at `since`.
    pub(super) roots: HashMap<String, i64>,
    /// New receipts, by room.
    pub(super) receipts: HashMap<String, Vec<ReceiptRow>>,
    /// New account data as type and content, by room; `""` is global.
    pub(super) account_data: HashMap<String, Vec<(String, String)>>,
    /// Users whose messages are not shown.
    pub(super) ignored: HashSet<OwnedUserId>,
    /// Whose invites the user wants.
    pub(super) permission: Permission,
    /// What is unread.
    pub(super) unread: HashMap<String, Unread>,
    /// Messages to the device.
    pub(super) to_device: Vec<String>,
    /// Up to where messages to the device may be removed, if any are there.
    pub(super) acknowledged: Option<i64>,
    /// Whose devices changed.
    pub(super) device_lists: DeviceLists,
    /// How many keys the device has for others.
    pub(super) supply: Supply,
}

/// How many messages to a device one answer has at most.
const MOST_MESSAGES: i64 = 100;

/// The token that says: everything up to now.
pub(super) async fn now(engine: &Engine) -> Result<SyncToken, Internal> {
    let (typing, presence) = (engine.typing.serial(), engine.presence.serial());
    let mut conn = engine.storage.snapshot().await?;
    let epochs = epochs::all(&mut conn).await?;
    Ok(SyncToken {
        pos: facts::head(&mut conn).await?,
        epoch: epochs.last().map_or(0, |epoch| epoch.epoch),
        typing,
        presence,
        to_device: 0,
        instance: engine.typing.instance().to_owned(),
    })
}

impl Moment {
    /// Reads the present.
    pub(super) async fn read(
        engine: &Engine,
        asking: Asking<'_>,
        request: &Request,
    ) -> Result<Self, Internal> {
        let user_id = asking.user_id;
        // What is typed after this is seen the next time.
        let (typing, presence) = (engine.typing.serial(), engine.presence.serial());
        let mut conn = engine.storage.snapshot().await?;
        let mut moment = Self { head: facts::head(&mut conn).await?, ..Self::default() };
        let epochs = epochs::all(&mut conn).await?;
        moment.token = SyncToken {
            pos: moment.head,
            epoch: epochs.last().map_or(0, |epoch| epoch.epoch),
            typing,
            presence,
            to_device: 0,
            instance: engine.typing.instance().to_owned(),
        };
        if let Some(token) = &request.since {
            moment.since = Some(token.clamped(&epochs, moment.head));
            let is_ours = token.instance == engine.typing.instance();
            moment.typing_since = if is_ours { token.typing } else { 0 };
            moment.presence_since = if is_ours { token.presence } else { 0 };
        }
        moment.memberships = memberships::of_user(&mut conn, user_id.as_str()).await?;
        moment.read_account(&mut conn, user_id).await?;
        moment.read_rooms(engine, &mut conn, user_id, request).await?;
        if engine.config.presence.enabled {
            moment.read_presence(engine, &mut conn, user_id).await?;
        }
        if let Some(since) = moment.since {
            let (memberships, span) = (&moment.memberships, (since, moment.head));
            moment.device_lists = news::device_lists(&mut conn, user_id, memberships, span).await?;
        }
        if let Some(device) = asking.device_id {
            moment.read_device(&mut conn, user_id, device, request).await?;
        }
        Ok(moment)
    }

    /// Reads what was heard of, and nothing else: what was said and read in some rooms whose state and
    /// members are as they were. `None` when they are not.
    pub(super) async fn heard(
        engine: &Engine,
        asking: Asking<'_>,
        request: &Request,
        step: Step,
    ) -> Result<Option<Self>, Internal> {
        let Step { since, token, heard, supply, ignored } = step;
        let (user_id, after, until, epoch) = (asking.user_id, since.pos, token.pos, token.epoch);
        let mut moment = Self {
            head: until,
            since: Some(after),
            typing_since: since.typing,
            presence_since: since.presence,
            token,
            ignored,
            ..Self::default()
        };
        let wants = |room_id: &String| request.filter.room.wants_room(room_id);
        for room_id in heard.rooms.into_iter().filter(wants) {
            let span = Span { room_id: room_id.clone(), epoch, after, until };
            let Some(stretch) = between::read(engine, span).await? else { return Ok(None) };
            // Whoever waits for what happens in a room was joined to it, and would have heard of leaving it.
            moment.memberships.push(MembershipRow {
                user_id: user_id.to_string(),
                room_id: room_id.clone(),
                membership: "join".to_owned(),
                pos: after,
                ..MembershipRow::default()
            });
            let is_shown = request.filter.room.state.lazy_load_members
                || stretch.row.flags & rooms::flags::PARTIAL_STATE == 0;
            if is_shown {
                moment.rooms.insert(room_id.clone(), stretch.row.clone());
            }
            moment.roots.insert(room_id.clone(), stretch.row.current_state);
            if !stretch.receipts.is_empty() {
                moment.receipts.insert(room_id.clone(), stretch.receipts.clone());
            }
            moment.stretches.insert(room_id.clone(), stretch);
            moment.moved.insert(room_id);
        }
        let rooms: Vec<String> = moment.moved.iter().cloned().collect();
        let mut conn = engine.storage.read().await?;
        moment.unread = unread::count(&mut conn, user_id, &rooms).await?;
        moment.supply = match (supply, asking.device_id) {
            (None, Some(device)) => news::supply(&mut conn, user_id, device).await?,
            (supply, _) => supply.map(Arc::unwrap_or_clone).unwrap_or_default(),
        };
        Ok(Some(moment))
    }

    /// What is for one device only.
    async fn read_device(
        &mut self,
        conn: &mut Conn,
        user_id: &UserId,
        device: &DeviceId,
        request: &Request,
    ) -> Result<(), Internal> {
        self.supply = news::supply(conn, user_id, device).await?;
        // What a token saw of a future that was lost, it did not see.
        let seen = request.since.as_ref().map_or(0, |token| token.to_device);
        let seen = seen.min(self.since.unwrap_or(0));
        self.token.to_device = seen;
        if !request.to_device {
            return Ok(());
        }
        let (user, device) = (user_id.as_str(), device.as_str());
        let old = to_device::waiting(conn, user, device, (0, seen), 1).await?;
        self.acknowledged = old.first().map(|_| seen);
        let span = (seen, self.head);
        let waiting = to_device::waiting(conn, user, device, span, MOST_MESSAGES).await?;
        let is_all = i64::try_from(waiting.len()).is_ok_and(|count| count < MOST_MESSAGES);
        let last = waiting.last().map(|(pos, _)| *pos);
        self.token.to_device = last.filter(|_| !is_all).unwrap_or(self.head);
        self.to_device = waiting.into_iter().map(|(_, json)| json).collect();
        Ok(())
    }

    async fn read_account(&mut self, conn: &mut Conn, user_id: &UserId) -> Result<(), Internal> {
        let after = self.since.unwrap_or(0);
        for (room_id, kind, content) in
            account_data::between(conn, user_id.as_str(), after, self.head).await?
        {
            self.account_data.entry(room_id).or_default().push((kind, content));
        }
        self.ignored = ignored_users(conn, user_id).await?;
        self.permission = Permission::read(conn, user_id).await?;
        Ok(())
    }

    async fn read_rooms(
        &mut self,
        engine: &Engine,
        conn: &mut Conn,
        user_id: &UserId,
        request: &Request,
    ) -> Result<(), Internal> {
        let mut joined = self.rooms_of(|row| {
            row.membership == "join" && request.filter.room.wants_room(&row.room_id)
        });
        let since = self.since.unwrap_or(0);
        if !request.filter.room.state.lazy_load_members {
            let hidden = self.read_incomplete(conn, &joined, since).await?;
            joined.retain(|room_id| !hidden.contains(room_id));
        }
        self.moved = timeline::active(conn, &joined, since, self.head).await?.into_iter().collect();
        self.moved.extend(state::changed(conn, &joined, since, self.head).await?);
        self.read_receipts(conn, &joined, since).await?;

        let all = self.since.is_none() || request.full_state;
        let mut fresh: HashSet<String> = self.rooms_of(|row| row.pos > since).into_iter().collect();
        fresh.extend(self.completed.iter().cloned());
        let is_candidate = |room_id: &&String| {
            all || fresh.contains(*room_id)
                || self.moved.contains(*room_id)
                || self.receipts.contains_key(*room_id)
                || self.account_data.contains_key(*room_id)
                || self.typing(engine, room_id).is_some()
        };
        let candidates: Vec<String> = joined.iter().filter(is_candidate).cloned().collect();
        let mut rows = rooms::get_many(conn, &candidates).await?;
        partial::count_unseen(conn, &mut rows).await?;
        self.unread = unread::count(conn, user_id, &candidates).await?;
        self.rooms = rows.into_iter().map(|row| (row.room_id.clone(), row)).collect();

        let mut known: Vec<String> = candidates;
        known.extend(self.rooms_of(|row| row.pos > since && row.membership != "join"));
        self.roots = match self.since {
            Some(since) => state::roots_at(conn, &known, since).await?.into_iter().collect(),
            None => HashMap::new(),
        };
        Ok(())
    }

    /// A client that wants all members is not shown a room before they are known. The rooms that it is
    /// not shown.
    async fn read_incomplete(
        &mut self,
        conn: &mut Conn,
        joined: &[String],
        since: i64,
    ) -> Result<HashSet<String>, Internal> {
        let mut hidden = HashSet::new();
        for (room_id, is_partial) in partial::incomplete_after(conn, joined, since).await? {
            let into = if is_partial { &mut hidden } else { &mut self.completed };
            into.insert(room_id);
        }
        Ok(hidden)
    }

    /// Whose presence changed, of those who share a room with the user; in rooms that are new to the
    /// user, all who are there.
    async fn read_presence(
        &mut self,
        engine: &Engine,
        conn: &mut Conn,
        user_id: &UserId,
    ) -> Result<(), Internal> {
        let changed = engine.presence.changed(self.presence_since, self.token.presence);
        if !changed.is_empty() {
            self.presence = presence::sharing(conn, user_id, &changed).await?;
            self.presence.extend(changed.into_iter().filter(|changed| changed == user_id));
        }
        let since = self.since.unwrap_or(0);
        if self.presence_since > 0 {
            let fresh = self.rooms_of(|row| row.membership == "join" && row.pos > since);
            self.presence.extend(presence::there_in(engine, conn, &fresh).await?);
        }
        Ok(())
    }

    /// New receipts; of rooms that may have been joined since, all.
    async fn read_receipts(
        &mut self,
        conn: &mut Conn,
        joined: &[String],
        since: i64,
    ) -> Result<(), Internal> {
        let fresh = self.rooms_of(|row| row.membership == "join" && row.pos > since);
        let mut rows = receipts::between(conn, joined, since, self.head).await?;
        if !fresh.is_empty() {
            rows.extend(receipts::between(conn, &fresh, 0, since).await?);
        }
        for row in rows {
            self.receipts.entry(row.room_id.clone()).or_default().push(row);
        }
        Ok(())
    }

    /// New typing in a room.
    fn typing(&self, engine: &Engine, room_id: &str) -> Option<Vec<OwnedUserId>> {
        let room_id = RoomId::parse(room_id).ok()?;
        engine.typing.changed(&room_id, self.typing_since, self.token.typing)
    }

    /// The rooms in which the user is something.
    pub(super) fn rooms_of(&self, is: impl Fn(&MembershipRow) -> bool) -> Vec<String> {
        let rows = self.memberships.iter().filter(|row| is(row));
        rows.map(|row| row.room_id.clone()).collect()
    }
}
