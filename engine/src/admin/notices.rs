//! What the server says to its users: each has one room in which it does.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-notices>

use ruma::{
    OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::{Map, Value, json, value::RawValue};
use starling_storage::{
    Change, Claim, CommitError, account_data,
    accounts::UserRow,
    admin::{
        Write,
        notices::{self as rows, NoticeRoom},
    },
};
use tokio::sync::Mutex;

use super::users;
use crate::{
    Engine, Internal,
    accounts::{data, names, profiles},
    config::ServerNotices,
    rooms::{
        create::{self, CreateError, CreateRoom, Preset},
        membership::{
            MembershipError,
            content::Member,
            local::{self, Change as NewMembership},
        },
        send::{self, Message, SendError, SetState, Transaction},
    },
};

/// The tag of the room.
const TAG: &str = "m.server_notice";

/// Two notices to a user who has no room yet make one room.
#[derive(Debug, Default)]
pub struct Turn(Mutex<()>);

/// Something to be said to a user.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The user.
    pub user_id: OwnedUserId,
    /// The event type.
    pub kind: String,
    /// For state.
    pub state_key: Option<String>,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
    /// Saying it again under the same name says it once.
    pub transaction: Option<(OwnedDeviceId, String)>,
}

/// Why something was not said.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The settings name nobody who says it.
    #[error("server notices are switched off")]
    Off,
    /// The user is of another server.
    #[error("the user is not of this server")]
    NotOurs,
    /// There is no such user, or their account is closed.
    #[error("there is no such user")]
    NotFound,
    /// Somebody has the name under which the server speaks.
    #[error("the name of the server's own account belongs to somebody")]
    NameTaken,
    /// The room refuses it.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for NoticeError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<MembershipError> for NoticeError {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Internal(error) => Self::Internal(error),
            error => Self::Send(SendError::Forbidden(error.to_string())),
        }
    }
}

impl From<CreateError> for NoticeError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Internal(error) => Self::Internal(error),
            error => Self::Send(SendError::BadContent(error.to_string())),
        }
    }
}

/// Says something to a user in the room that is for it, which is made the first time. Who has left it
/// is invited again.
///
/// # Errors
///
/// [`NoticeError`].
pub async fn send(engine: &Engine, notice: Notice) -> Result<OwnedEventId, NoticeError> {
    let settings = engine.config.server_notices.as_ref().ok_or(NoticeError::Off)?;
    match users::get(engine, &notice.user_id).await {
        Ok(account) if !account.is_deactivated => {}
        Ok(_) | Err(users::UserError::NotFound) => return Err(NoticeError::NotFound),
        Err(users::UserError::NotOurs) => return Err(NoticeError::NotOurs),
        Err(users::UserError::Internal(error)) => return Err(error.into()),
        Err(error) => return Err(Internal::Damaged(error.to_string()).into()),
    }
    let (sender, room_id) = {
        let _turn = engine.admin.notices.0.lock().await;
        let sender = speaker(engine, settings).await?;
        let room_id = room(engine, settings, &sender, &notice.user_id).await?;
        invite(engine, &sender, &room_id, &notice.user_id).await?;
        (sender, room_id)
    };
    let Notice { kind, state_key, content, transaction, .. } = notice;
    let sent = match state_key {
        Some(state_key) => {
            let kind = StateEventType::from(kind);
            send::state(engine, SetState { room_id, sender, kind, state_key, content, ts: None })
                .await
        }
        None => {
            let kind = TimelineEventType::from(kind);
            let transaction = transaction.map(|(device_id, txn_id)| Transaction {
                device_id,
                path: "send_server_notice".to_owned(),
                txn_id,
            });
            send::message(engine, Message { room_id, sender, kind, content, ts: None, transaction })
                .await
        }
    };
    Ok(sent?)
}

/// The account that speaks for the server. Nobody can log in to it.
async fn speaker(engine: &Engine, settings: &ServerNotices) -> Result<OwnedUserId, NoticeError> {
    let own = &engine.config.server_name;
    let user = UserId::parse_with_server_name(settings.localpart.as_str(), own);
    let user = user.map_err(Internal::from)?;
    match names::account(engine, &user).await? {
        Some(row) if row.password_hash.is_some() || row.appservice_id.is_some() => {
            return Err(NoticeError::NameTaken);
        }
        Some(_) => {}
        None => {
            let mut change = Change::new();
            change.claim(Claim::NewUser(UserRow {
                user_id: user.to_string(),
                created_ts: engine.clock.now_ms(),
                ..UserRow::default()
            }));
            match engine.storage.commit(change).await {
                Ok(_) | Err(CommitError::NameTaken) => {}
                Err(error) => return Err(Internal::from(error).into()),
            }
        }
    }
    show(engine, &user, "displayname", Some(&settings.display_name)).await?;
    show(engine, &user, "avatar_url", settings.avatar_url.as_ref()).await?;
    Ok(user)
}

/// Gives the account the name or avatar that the settings say.
async fn show(
    engine: &Engine,
    user: &UserId,
    field: &str,
    value: Option<&String>,
) -> Result<(), NoticeError> {
    let mut conn = engine.storage.read().await?;
    let fields = account_data::profile(&mut conn, user.as_str()).await?;
    drop(conn);
    let now = fields.iter().find(|(name, _)| name == field);
    let now = now.and_then(|(_, json)| serde_json::from_str::<String>(json).ok());
    if now.as_ref() == value {
        return Ok(());
    }
    let value = Value::from(value.cloned().unwrap_or_default());
    match profiles::set_field(engine, user, field, value).await {
        Ok(()) => Ok(()),
        Err(profiles::SetFieldError::Internal(error)) => Err(error.into()),
        Err(error) => Err(Internal::Damaged(error.to_string()).into()),
    }
}

/// The room for a user, made if there is none in which the server still can speak.
async fn room(
    engine: &Engine,
    settings: &ServerNotices,
    sender: &UserId,
    user_id: &UserId,
) -> Result<OwnedRoomId, NoticeError> {
    let mut conn = engine.storage.read().await?;
    let known = rows::room_of(&mut conn, user_id.as_str()).await?;
    drop(conn);
    if let Some(room_id) = known {
        let room_id = OwnedRoomId::try_from(room_id).map_err(Internal::from)?;
        let own = local::membership(engine, sender, &room_id).await?;
        if own.is_some_and(|own| own.membership == "join") {
            return Ok(room_id);
        }
    }
    let silent = Map::from_iter([("users_default".to_owned(), Value::from(-10))]);
    let wanted = CreateRoom {
        creator: sender.to_owned(),
        version: None,
        preset: Preset::PrivateChat,
        published: false,
        alias: None,
        name: Some(settings.room_name.clone()),
        topic: None,
        invite: Vec::new(),
        is_direct: false,
        creation_content: Map::from_iter([("m.federate".to_owned(), Value::from(false))]),
        initial_state: Vec::new(),
        power_level_content_override: silent,
    };
    let room_id = create::create(engine, &wanted).await?;
    let mut change = Change::new();
    let row = NoticeRoom { user_id: user_id.to_string(), room_id: room_id.to_string() };
    change.write(Write::NoticeRoom(row));
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(room_id)
}

/// Invites the user unless they are there, whatever invites they take otherwise.
async fn invite(
    engine: &Engine,
    sender: &UserId,
    room_id: &RoomId,
    user_id: &UserId,
) -> Result<(), NoticeError> {
    let own = local::membership(engine, user_id, room_id).await?;
    if own.is_some_and(|own| matches!(own.membership.as_str(), "join" | "invite")) {
        return Ok(());
    }
    let member = Member::default();
    let invite = NewMembership { room_id, sender, target: user_id, membership: "invite", member };
    local::change(engine, invite).await?;
    match data::set_tag(engine, user_id, room_id, TAG, Some(json!({}))).await {
        Ok(()) => Ok(()),
        Err(data::SetError::Internal(error)) => Err(error.into()),
        Err(error) => {
            tracing::info!(%error, "the room of server notices got no tag");
            Ok(())
        }
    }
}
