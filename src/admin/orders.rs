//! What `starling admin` can be told about accounts, rooms, tokens and servers, and how it is done.

use clap::Subcommand;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::to_raw_value};
use starling_engine::{
    Engine,
    accounts::devices,
    admin::{
        delete, destinations,
        history::{self, Until},
        notices::{self, Notice},
        rate_limits::{self, RateLimit},
        retention, rooms, tasks,
        tokens::{self, NewToken},
        users::{self, Account, Right},
    },
    pushers,
    rooms::blocked,
};

/// Who does what is done here, where somebody has to be named.
pub(super) const BY: &str = "starling admin";

pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// About accounts.
#[derive(Debug, Deserialize, Serialize, Subcommand)]
pub(crate) enum UserOrder {
    /// List accounts: one JSON object on each line.
    List {
        /// Only those with this in their name.
        #[arg(long)]
        name: Option<String>,
        /// Those that are closed too.
        #[arg(long)]
        deactivated: bool,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Refuse all that an account asks, but to log out.
    Lock {
        /// The name or the user id.
        name: String,
    },
    /// Undo a lock.
    Unlock {
        /// The name or the user id.
        name: String,
    },
    /// Let an account read, and do little else.
    Suspend {
        /// The name or the user id.
        name: String,
    },
    /// Undo a suspension.
    Unsuspend {
        /// The name or the user id.
        name: String,
    },
    /// Let an account believe that what it says is said, and show it to nobody.
    ShadowBan {
        /// The name or the user id.
        name: String,
    },
    /// Undo a shadow ban.
    UnshadowBan {
        /// The name or the user id.
        name: String,
    },
    /// Let an account send more, or less, than others: as often as it likes, unless numbers are given.
    RateLimit {
        /// The name or the user id.
        name: String,
        /// How many messages with each second.
        #[arg(long, requires = "burst")]
        per_second: Option<u32>,
        /// How many messages at once.
        #[arg(long, requires = "per_second")]
        burst: Option<u32>,
        /// As for everybody.
        #[arg(long, conflicts_with = "per_second")]
        usual: bool,
    },
    /// Close an account for good.
    Deactivate {
        /// The name or the user id.
        name: String,
        /// Its user asks for their data to be erased.
        #[arg(long)]
        erase: bool,
    },
    /// Let an account administer this server.
    Promote {
        /// The name or the user id.
        name: String,
    },
    /// Let an account administer this server no more.
    Demote {
        /// The name or the user id.
        name: String,
    },
    /// List the devices of an account: one JSON object on each line.
    Devices {
        /// The name or the user id.
        name: String,
    },
    /// List the pushers of an account, by which its devices are told of messages: one JSON object on each
    /// line.
    Pushers {
        /// The name or the user id.
        name: String,
    },
    /// End the session of a device.
    RemoveDevice {
        /// The name or the user id.
        name: String,
        /// The device.
        #[arg(allow_hyphen_values = true)]
        device: String,
    },
}

/// About rooms.
#[derive(Debug, Deserialize, Serialize, Subcommand)]
pub(crate) enum RoomOrder {
    /// List rooms, the largest first: one JSON object on each line.
    List {
        /// Only those with this in their name, alias or id.
        #[arg(long)]
        search: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// List the rooms that take most bytes, those first: one JSON object on each line.
    Sizes {
        /// How many at most.
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
    /// Have the users of this server leave a room, and remove what is stored of it.
    Delete {
        /// The room.
        room: OwnedRoomId,
        /// Let nobody of this server join it again.
        #[arg(long)]
        block: bool,
        /// Keep what is stored of it.
        #[arg(long)]
        keep: bool,
        /// Remove it even when somebody cannot be made to leave.
        #[arg(long)]
        force: bool,
    },
    /// Let nobody of this server join a room.
    Block {
        /// The room.
        room: OwnedRoomId,
    },
    /// Let a room be joined again.
    Unblock {
        /// The room.
        room: OwnedRoomId,
    },
    /// Remove the messages of a room that are older than some days.
    PurgeHistory {
        /// The room.
        room: OwnedRoomId,
        /// How many days.
        #[arg(long)]
        days: u32,
        /// Those too that users of this server sent, which no other server may have.
        #[arg(long)]
        local: bool,
    },
    /// Say how far a removal is.
    Status {
        /// What `delete` or `purge-history` said.
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

/// About the tokens by which people register.
#[derive(Debug, Deserialize, Serialize, Subcommand)]
pub(crate) enum TokenOrder {
    /// List them: one JSON object on each line.
    List,
    /// Make one, and print it.
    New {
        /// For how many accounts; otherwise for any number.
        #[arg(long)]
        uses: Option<u32>,
        /// For how many days; otherwise for ever.
        #[arg(long)]
        days: Option<u32>,
    },
    /// Remove one.
    Remove {
        /// The token.
        #[arg(allow_hyphen_values = true)]
        token: String,
    },
}

/// About the servers that are sent to.
#[derive(Debug, Deserialize, Serialize, Subcommand)]
pub(crate) enum ServerOrder {
    /// List them, those that fail first: one JSON object on each line.
    List {
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Try one again now.
    Retry {
        /// The server.
        server: OwnedServerName,
    },
    /// Ask one something that is signed: whether both servers hear each other.
    Ask {
        /// The server.
        server: OwnedServerName,
    },
}

/// Does it, and says what came of it.
pub(super) async fn about_users(engine: &Engine, order: UserOrder) -> anyhow::Result<String> {
    match order {
        UserOrder::List { name, deactivated, limit } => {
            let wanted = users::Wanted {
                name,
                deactivated: (!deactivated).then_some(false),
                limit: limit.into(),
                ..users::Wanted::default()
            };
            let (accounts, _) = users::list(engine, &wanted).await?;
            lines(accounts.iter().map(shown))
        }
        UserOrder::Lock { name } => set(engine, &name, Right::Locked, true).await,
        UserOrder::Unlock { name } => set(engine, &name, Right::Locked, false).await,
        UserOrder::Suspend { name } => set(engine, &name, Right::Suspended, true).await,
        UserOrder::Unsuspend { name } => set(engine, &name, Right::Suspended, false).await,
        UserOrder::ShadowBan { name } => set(engine, &name, Right::ShadowBanned, true).await,
        UserOrder::UnshadowBan { name } => set(engine, &name, Right::ShadowBanned, false).await,
        UserOrder::RateLimit { name, per_second, burst, usual } => {
            let user = find(engine, &name).await?;
            let number = |given: Option<u32>| given.unwrap_or(0);
            let limit = RateLimit { per_second: number(per_second), burst: number(burst) };
            rate_limits::set(engine, &user, (!usual).then_some(limit)).await?;
            Ok(match (usual, per_second) {
                (true, _) => format!("{user} may do as much as others."),
                (false, None) => format!("{user} may do as much as they like."),
                (false, Some(_)) => {
                    format!(
                        "{user} may send {} at once, and {} a second.",
                        limit.burst, limit.per_second
                    )
                }
            })
        }
        UserOrder::Promote { name } => set(engine, &name, Right::Admin, true).await,
        UserOrder::Demote { name } => set(engine, &name, Right::Admin, false).await,
        UserOrder::Deactivate { name, erase } => {
            let user = find(engine, &name).await?;
            users::deactivate(engine, &user, erase).await?;
            Ok(format!("Closed the account {user}."))
        }
        UserOrder::Devices { name } => {
            let user = find(engine, &name).await?;
            let devices = devices::list(engine, &user).await?;
            lines(devices.iter().map(|device| {
                json!({
                    "device_id": device.device_id, "display_name": device.display_name,
                    "last_seen_ts": device.last_seen_ts, "last_seen_ip": device.last_seen_ip,
                })
            }))
        }
        UserOrder::Pushers { name } => {
            let user = find(engine, &name).await?;
            let pushers = pushers::set::list(engine, &user).await?;
            lines(pushers.iter().map(|pusher| {
                json!({
                    "kind": pusher.kind, "app_id": pusher.key.app_id,
                    "app_display_name": pusher.app_display_name, "pushkey": pusher.key.pushkey,
                    "device_id": pusher.device_id, "enabled": pusher.enabled,
                    "failures": pusher.progress.failures,
                })
            }))
        }
        UserOrder::RemoveDevice { name, device } => {
            let user = find(engine, &name).await?;
            users::remove_devices(engine, &user, &[device.as_str().into()]).await?;
            Ok(format!("Ended the session of {user} on {device}."))
        }
    }
}

async fn set(engine: &Engine, name: &str, right: Right, value: bool) -> anyhow::Result<String> {
    let user = find(engine, name).await?;
    users::set(engine, None, &user, right, value).await?;
    let account = users::get(engine, &user).await?;
    Ok(shown(&account).to_string())
}

pub(super) async fn find(engine: &Engine, name: &str) -> anyhow::Result<OwnedUserId> {
    Ok(users::named(engine, name).await?.user_id.try_into()?)
}

fn shown(account: &Account) -> Value {
    json!({
        "user_id": account.user_id,
        "display_name": account.display_name,
        "admin": account.is_admin,
        "guest": account.is_guest,
        "locked": account.is_locked,
        "suspended": account.is_suspended,
        "shadow_banned": account.is_shadow_banned,
        "deactivated": account.is_deactivated,
        "created_ts": account.created_ts,
        "last_seen_ts": account.last_seen_ts,
    })
}

/// Does it, and says what came of it.
pub(super) async fn about_rooms(engine: &Engine, order: RoomOrder) -> anyhow::Result<String> {
    match order {
        RoomOrder::List { search, limit } => {
            let wanted = rooms::Wanted {
                search,
                order: rooms::Order::JoinedMembers,
                limit: limit.into(),
                ..rooms::Wanted::default()
            };
            let (rooms, _) = rooms::list(engine, &wanted).await?;
            lines(rooms.iter().map(|room| json!(room)))
        }
        RoomOrder::Sizes { limit } => {
            let sizes = rooms::sizes(engine, limit.into()).await?;
            lines(sizes.iter().map(|size| json!(size)))
        }
        RoomOrder::Delete { room, block, keep, force } => {
            let by = BY.to_owned();
            let wanted =
                delete::Wanted { by, block, purge: !keep, force, ..delete::Wanted::default() };
            match delete::schedule(engine, &room, &wanted).await? {
                Some(id) => Ok(format!("The server removes {room}; ask for the status of {id}")),
                None => Ok(format!("{room} is not known here. It is blocked.")),
            }
        }
        RoomOrder::Block { room } => {
            blocked::set(engine, &room, Some(BY)).await?;
            Ok(format!("Nobody of this server can join {room}."))
        }
        RoomOrder::Unblock { room } => {
            blocked::set(engine, &room, None).await?;
            Ok(format!("{room} is not blocked."))
        }
        RoomOrder::PurgeHistory { room, days, local } => {
            let until = Until::Time(engine.clock.now_ms() - i64::from(days) * DAY_MS);
            let id = history::schedule(engine, &room, until, local).await?;
            Ok(format!("The server purges {room}; ask for the status of {id}"))
        }
        RoomOrder::Status { id } => {
            let deletion = tasks::get::<Value>(engine, tasks::Kind::DeleteRoom, &id).await?;
            let purge = tasks::get::<Value>(engine, tasks::Kind::PurgeHistory, &id).await?;
            let task = deletion.or(purge);
            let task = task.ok_or_else(|| anyhow::anyhow!("nothing is known of {id}"))?;
            let body = json!({ "status": task.status, "progress": task.progress });
            Ok(body.to_string())
        }
    }
}

/// Does it, and says what came of it.
pub(super) async fn about_tokens(engine: &Engine, order: TokenOrder) -> anyhow::Result<String> {
    match order {
        TokenOrder::List => {
            let tokens = tokens::list(engine, None).await?;
            lines(tokens.iter().map(|token| {
                json!({
                    "token": token.token, "uses_allowed": token.uses_allowed,
                    "completed": token.completed, "pending": token.pending,
                    "expires_ts": token.expires_ts,
                })
            }))
        }
        TokenOrder::New { uses, days } => {
            let in_days = |days: u32| engine.clock.now_ms() + i64::from(days) * DAY_MS;
            let new = NewToken {
                uses_allowed: uses.map(i64::from),
                expires_ts: days.map(in_days),
                ..NewToken::default()
            };
            Ok(tokens::make(engine, new).await?.token)
        }
        TokenOrder::Remove { token } => {
            tokens::remove(engine, &token).await?;
            Ok(format!("Removed {token}."))
        }
    }
}

/// Does it, and says what came of it.
pub(super) async fn about_servers(engine: &Engine, order: ServerOrder) -> anyhow::Result<String> {
    match order {
        ServerOrder::List { limit } => {
            let order = (destinations::Order::Failures, true);
            let (servers, _) = destinations::list(engine, order, (0, limit.into())).await?;
            lines(servers.iter().map(|server| {
                json!({
                    "server": server.server, "failures": server.failures,
                    "failed_ts": server.failed_ts, "last_success_ts": server.last_success_ts,
                    "last_error": server.last_error, "queued": server.queued,
                })
            }))
        }
        ServerOrder::Ask { server } => {
            destinations::reach(engine, &server).await.map_err(anyhow::Error::msg)
        }
        ServerOrder::Retry { server } => {
            destinations::retry(engine, &server);
            Ok(format!("{server} is tried now, if it was paused."))
        }
    }
}

/// Says something to a user in the name of the server.
pub(super) async fn notice(engine: &Engine, name: &str, text: &str) -> anyhow::Result<String> {
    let notice = Notice {
        user_id: find(engine, name).await?,
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: to_raw_value(&json!({ "msgtype": "m.text", "body": text }))?,
        transaction: None,
    };
    let event_id = notices::send(engine, notice).await?;
    Ok(format!("Sent as {event_id}."))
}

/// What is older than the policies of its rooms allow.
pub(super) async fn expired(engine: &Engine) -> anyhow::Result<String> {
    let plans = retention::plan(engine).await?;
    lines(plans.iter().map(|plan| json!(plan)))
}

pub(super) fn lines(values: impl Iterator<Item = Value>) -> anyhow::Result<String> {
    Ok(values.map(|value| value.to_string()).collect::<Vec<_>>().join("\n"))
}
