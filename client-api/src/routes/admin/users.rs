//! GET /_synapse/admin/v2/users
//! GET /_synapse/admin/v3/users
//! GET /_synapse/admin/v2/users/{userId}
//! PUT /_synapse/admin/v2/users/{userId}

pub(crate) mod accountdata;
pub(crate) mod admin;
pub(crate) mod delete_devices;
pub(crate) mod devices;
pub(crate) mod joined_rooms;
pub(crate) mod login;
pub(crate) mod media;
pub(crate) mod memberships;
pub(crate) mod override_ratelimit;
pub(crate) mod pushers;
pub(crate) mod shadow_ban;

use http::StatusCode;
use ruma::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::{
    accounts::threepids::{EMAIL, Threepid},
    admin::users::{self, Account, Order, Put, Wanted},
};

use super::reset_password::yes;
use crate::{
    admin::{Paging, next},
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Query {
    user_id: Option<String>,
    name: Option<String>,
    guests: Option<bool>,
    admins: Option<bool>,
    deactivated: Option<bool>,
    locked: Option<bool>,
    #[serde(default)]
    order_by: OrderBy,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderBy {
    #[default]
    Name,
    IsGuest,
    Admin,
    UserType,
    Deactivated,
    ShadowBanned,
    Displayname,
    AvatarUrl,
    CreationTs,
    LastSeenTs,
    Locked,
}

impl OrderBy {
    /// There are no types of users here, and nobody is banned without being told.
    fn order(self) -> Order {
        match self {
            Self::Name | Self::UserType | Self::ShadowBanned => Order::Name,
            Self::IsGuest => Order::Guest,
            Self::Admin => Order::Admin,
            Self::Deactivated => Order::Deactivated,
            Self::Displayname => Order::DisplayName,
            Self::AvatarUrl => Order::AvatarUrl,
            Self::CreationTs => Order::Created,
            Self::LastSeenTs => Order::LastSeen,
            Self::Locked => Order::Locked,
        }
    }
}

pub(crate) async fn get_all(call: Call) -> Answer {
    call.administrator().await?;
    let query: Query = call.query_as()?;
    // With `true` those are listed too, otherwise not.
    let deactivated = if query.deactivated == Some(true) { None } else { Some(false) };
    list(&call, query, deactivated).await
}

pub(crate) async fn get_all_v3(call: Call) -> Answer {
    call.administrator().await?;
    let query: Query = call.query_as()?;
    let deactivated = query.deactivated;
    list(&call, query, deactivated).await
}

async fn list(call: &Call, query: Query, deactivated: Option<bool>) -> Answer {
    let paging: Paging = call.query_as()?;
    let page = paging.page()?;
    let wanted = Wanted {
        user_id: query.user_id.filter(|_| query.name.is_none()),
        name: query.name,
        guests: if query.guests == Some(false) { Some(false) } else { None },
        admins: query.admins,
        deactivated,
        locked: if query.locked == Some(true) { None } else { Some(false) },
        order: query.order_by.order(),
        backwards: paging.is_backward(),
        offset: page.0,
        limit: page.1,
    };
    let (accounts, total) = users::list(&call.engine, &wanted).await?;
    let shown: Vec<Value> = accounts.iter().map(shown).collect();
    let mut body = json!({ "users": shown, "total": total });
    if let Some(next) = next(page, accounts.len(), total) {
        body["next_token"] = next.to_string().into();
    }
    answer_json(&body)
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    answer_json(&details(&call, &user).await?)
}

#[derive(Deserialize)]
struct Body {
    password: Option<String>,
    #[serde(default = "yes")]
    logout_devices: bool,
    displayname: Option<String>,
    avatar_url: Option<String>,
    threepids: Option<Vec<Identifier>>,
    admin: Option<bool>,
    deactivated: Option<bool>,
    locked: Option<bool>,
}

#[derive(Deserialize)]
struct Identifier {
    medium: String,
    address: String,
}

impl Body {
    /// The addresses that are wanted. This server knows nobody by anything else.
    fn emails(&mut self) -> Result<Option<Vec<String>>, Error> {
        let Some(wanted) = self.threepids.take() else { return Ok(None) };
        if wanted.iter().any(|it| it.medium != EMAIL) {
            return Err(Error::invalid_param("A threepid's `medium` can only be `email`"));
        }
        Ok(Some(wanted.into_iter().map(|it| it.address).collect()))
    }
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    let mut body: Body = call.body_as().await?;
    let wanted = Put {
        emails: body.emails()?,
        password: body.password,
        log_out: body.logout_devices,
        display_name: body.displayname,
        avatar_url: body.avatar_url,
        admin: body.admin,
        deactivated: body.deactivated,
        locked: body.locked,
    };
    let made = users::put(&call.engine, &session.user_id, &user, wanted).await?;
    let mut answer = answer_json(&details(&call, &user).await?)?;
    if made {
        *answer.status_mut() = StatusCode::CREATED;
    }
    Ok(answer)
}

fn shown(account: &Account) -> Value {
    json!({
        "name": account.user_id,
        "displayname": account.display_name,
        "avatar_url": account.avatar_url,
        "is_guest": account.is_guest,
        "admin": account.is_admin,
        "user_type": null,
        "deactivated": account.is_deactivated,
        "erased": account.is_erased,
        "shadow_banned": account.is_shadow_banned,
        "locked": account.is_locked,
        "suspended": account.is_suspended,
        "appservice_id": account.appservice_id,
        "creation_ts": account.created_ts,
        "last_seen_ts": account.last_seen_ts,
    })
}

/// Here tools expect seconds.
async fn details(call: &Call, user: &UserId) -> Result<Value, Error> {
    let account = users::get(&call.engine, user).await?;
    let emails = users::emails(&call.engine, user).await?;
    let email = |it: &Threepid| {
        json!({ "medium": it.medium, "address": it.address, "validated_at": it.validated_ts,
                "added_at": it.added_ts })
    };
    let mut body = shown(&account);
    body["creation_ts"] = (account.created_ts / 1_000).into();
    body["threepids"] = emails.iter().map(email).collect();
    body["external_ids"] = json!([]);
    body["consent_version"] = Value::Null;
    body["consent_server_notice_sent"] = Value::Null;
    body["consent_ts"] = Value::Null;
    Ok(body)
}
