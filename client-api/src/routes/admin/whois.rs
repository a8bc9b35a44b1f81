//! GET /_matrix/client/v3/admin/whois/{userId}
//! GET /_synapse/admin/v1/whois/{userId}

use ruma::OwnedUserId;
use serde_json::{Map, Value, json};
use starling_engine::{
    accounts::devices::{self, DeviceRow},
    admin::users,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

/// Users may look themselves up, and administrators everybody.
pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let user: OwnedUserId = call.path_id(0)?;
    if user != session.user_id {
        call.as_administrator(session)?;
        users::get(&call.engine, &user).await?;
    }
    let devices = devices::list(&call.engine, &user).await?;
    let device = |row: &DeviceRow| (row.device_id.clone(), sessions(connection(row)));
    let devices: Map<String, Value> = devices.iter().map(device).collect();
    answer_json(&json!({ "user_id": user, "devices": devices }))
}

/// Tools take what they get for a list of addresses, so all devices stand together.
pub(crate) async fn get_by_tool(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    users::get(&call.engine, &user).await?;
    let devices = devices::list(&call.engine, &user).await?;
    let sessions = sessions(devices.iter().filter_map(connection));
    answer_json(&json!({ "user_id": user, "devices": { "": sessions } }))
}

fn sessions(connections: impl IntoIterator<Item = Value>) -> Value {
    let connections: Vec<Value> = connections.into_iter().collect();
    json!({ "sessions": [{ "connections": connections }] })
}

/// The last request of a device, if it has made any.
fn connection(row: &DeviceRow) -> Option<Value> {
    let (ip, last_seen) = (row.last_seen_ip.as_ref()?, row.last_seen_ts?);
    let mut connection = json!({ "ip": ip, "last_seen": last_seen });
    if let Some(user_agent) = &row.user_agent {
        connection["user_agent"] = user_agent.as_str().into();
    }
    Some(connection)
}
