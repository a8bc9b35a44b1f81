//! GET /_matrix/client/v3/directory/list/room/{roomId}
//! PUT /_matrix/client/v3/directory/list/room/{roomId}
//! PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}

use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::json;
use starling_engine::rooms::{directory, networks};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    let room_id: OwnedRoomId = call.path_id(0)?;
    let published = directory::is_published(&call.engine, &room_id).await?;
    let published = published.ok_or_else(|| Error::not_found("There is no such room"))?;
    answer_json(&json!({ "visibility": if published { "public" } else { "private" } }))
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    Public,
    Private,
}

#[derive(Deserialize)]
struct Body {
    visibility: Option<Visibility>,
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let body: Body = call.body_as().await?;
    let published = !matches!(body.visibility, Some(Visibility::Private));
    let (user_id, is_admin) = (&session.user_id, session.is_admin());
    directory::publish(&call.engine, user_id, is_admin, &room_id, published).await?;
    answer_json(&json!({}))
}

/// How long the name of a network may be, in bytes.
const LONGEST_NETWORK: usize = 255;

/// What an application service lists for a network that it leads to.
pub(crate) async fn put_for_network(mut call: Call) -> Answer {
    #[derive(Deserialize)]
    struct Body {
        visibility: Visibility,
    }
    let Some(service) = call.appservice()? else {
        call.authenticated().await?;
        return Err(Error::forbidden("Only application services list rooms of networks"));
    };
    let room_id: OwnedRoomId = call.path_id(1)?;
    let body: Body = call.body_as().await?;
    let listed = matches!(body.visibility, Visibility::Public);
    let network_id = call.path_arg(0);
    if network_id.is_empty() || network_id.len() > LONGEST_NETWORK {
        return Err(Error::invalid_param("The network's name is empty or too long"));
    }
    networks::list(&call.engine, &service, network_id, &room_id, listed).await?;
    answer_json(&json!({}))
}
