//! GET /_matrix/client/v3/publicRooms
//! POST /_matrix/client/v3/publicRooms

use ruma::OwnedServerName;
use serde::Deserialize;
use starling_engine::rooms::directory::{self, Network, Search};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    limit: Option<u64>,
    since: Option<String>,
    server: Option<String>,
}

#[derive(Default, Deserialize)]
struct Filter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

#[derive(Deserialize)]
struct Body {
    limit: Option<u64>,
    since: Option<String>,
    filter: Option<Filter>,
    #[serde(default)]
    include_all_networks: bool,
    third_party_instance_id: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.door.limits.address(Doing::Asking, call.client_ip())?;
    let query: Query = call.query_as()?;
    // Only for users of ours other servers are asked.
    if query.server.is_some() {
        call.authenticated_or_guest().await?;
    }
    let search = Search { limit: limit(query.limit), since: query.since, ..Search::default() };
    page(&call, query.server, search).await
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let query: Query = call.query_as()?;
    let body: Body = call.body_as().await?;
    let filter = body.filter.unwrap_or_default();
    let network = Network::read(body.include_all_networks, body.third_party_instance_id);
    let search = Search {
        term: filter.generic_search_term,
        room_types: filter.room_types,
        limit: limit(body.limit),
        since: body.since,
        network: network.ok_or_else(contradiction)?,
        ..Search::default()
    };
    page(&call, query.server, search).await
}

fn contradiction() -> Error {
    Error::invalid_param("`third_party_instance_id` goes not with `include_all_networks`")
}

fn limit(limit: Option<u64>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

async fn page(call: &Call, server: Option<String>, search: Search) -> Answer {
    let Some(server) = server.filter(|it| *it != call.engine.config.server_name.as_str()) else {
        return json(&directory::page(&call.engine, &search).await?);
    };
    let server = OwnedServerName::try_from(server)
        .map_err(|error| Error::invalid_param(error.to_string()))?;
    json(&directory::page_of(&call.engine, &server, &search).await?)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    const PATH: &str = "/_matrix/client/v3/publicRooms";

    #[tokio::test]
    async fn lists_pages_and_searches() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        for name in ["Apples", "Pears", "Apple trees"] {
            let body = json!({ "preset": "public_chat", "visibility": "public", "name": name });
            door.room(&alice, body).await;
        }
        let hidden = door.room(&alice, json!({ "preset": "public_chat", "name": "Hidden" })).await;
        let all = door.get_anonymous(PATH).await.ok();
        assert_eq!(all["total_room_count_estimate"], 3);
        assert_eq!(all["chunk"][0]["join_rule"], "public");
        let first = door.get_anonymous(&format!("{PATH}?limit=2")).await.ok();
        assert_eq!(first["chunk"].as_array().unwrap().len(), 2);
        let next = first["next_batch"].as_str().unwrap();
        let second = door.get_anonymous(&format!("{PATH}?limit=2&since={next}")).await.ok();
        assert_eq!(second["chunk"].as_array().unwrap().len(), 1);
        assert!(second.get("next_batch").is_none());
        let search = json!({ "filter": { "generic_search_term": "aPPle" }, "limit": 10 });
        let found = door.post(PATH, &alice, search).await.ok();
        assert_eq!(found["chunk"].as_array().unwrap().len(), 2);
        let spaces = json!({ "filter": { "room_types": ["m.space"] } });
        assert_eq!(door.post(PATH, &alice, spaces).await.ok()["chunk"], json!([]));

        let list = format!("/_matrix/client/v3/directory/list/room/{hidden}");
        assert_eq!(door.get_anonymous(&list).await.ok()["visibility"], "private");
        let bob = door.user("bob").await;
        let public = json!({ "visibility": "public" });
        let refused = door.put(&list, &bob, public.clone()).await;
        refused.refused(StatusCode::FORBIDDEN, "M_FORBIDDEN");
        door.put(&list, &alice, public).await.ok();
        assert_eq!(door.get_anonymous(PATH).await.ok()["total_room_count_estimate"], 4);
        for query in ["limit=-1", "limit=x", "since=zzz"] {
            let refused = door.get_anonymous(&format!("{PATH}?{query}")).await;
            refused.refused(StatusCode::BAD_REQUEST, "M_INVALID_PARAM");
        }
        let far = door.get(&format!("{PATH}?server=far.test"), &alice).await;
        assert_eq!(far.status, StatusCode::BAD_GATEWAY);
    }
}
