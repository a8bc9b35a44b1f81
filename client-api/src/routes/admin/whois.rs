//! GET /_synapse/admin/v1/whois/{userId}

use ruma::OwnedUserId;
use serde_json::{Value, json};
use starling_engine::{accounts::devices, admin::users};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    users::get(&call.engine, &user).await?;
    let devices = devices::list(&call.engine, &user).await?;
    let connections = devices.iter().filter_map(|device| {
        let (ip, last_seen) = (device.last_seen_ip.as_ref()?, device.last_seen_ts?);
        Some(json!({ "ip": ip, "last_seen": last_seen, "user_agent": null }))
    });
    let connections: Vec<Value> = connections.collect();
    let sessions = json!([{ "connections": connections }]);
    answer_json(&json!({ "user_id": user, "devices": { "": { "sessions": sessions } } }))
}
