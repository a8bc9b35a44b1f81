//! GET /_synapse/admin/v1/media/{serverName}/{mediaId}
//! DELETE /_synapse/admin/v1/media/{serverName}/{mediaId}
//! POST /_synapse/admin/v1/media/delete
//! POST /_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}
//! POST /_synapse/admin/v1/purge_media_cache

use serde_json::{Value, json};
use starling_conformance::client::{Answer, User, path};

use super::at;
use crate::{
    client::media::{download, download::parts, of, upload},
    support,
};

const ONE: &str = "/_synapse/admin/v1/media/{}/{}";
const QUARANTINE: &str = "/_synapse/admin/v1/media/quarantine/{}/{}";
const RELEASE: &str = "/_synapse/admin/v1/media/unquarantine/{}/{}";

/// Later than anything that a test does.
const LATER: &str = "4000000000000";

fn id(uri: &str) -> &str {
    uri.rsplit('/').next().unwrap()
}

async fn ask(admin: &User, target: &str) -> Value {
    admin.api.post(target, json!({})).await.unwrap().ok().unwrap()
}

async fn is_given(user: &User, uri: &str) -> bool {
    let answer = download(&user.api, uri).await;
    if answer.status == 200 {
        return true;
    }
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    false
}

/// The ids in an answer, in their order.
fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|file| file["media_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn files_of_a_user_are_listed_and_deleted() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let small = upload(&alice, "text/plain", "?filename=b.txt", b"x").await;
    let large = upload(&alice, "image/png", "?filename=a.png", b"large").await;
    let list = at("/v1/users/{}/media", &[&alice.id]);
    let get =
        async |query: &str| admin.api.get(&format!("{list}{query}")).await.unwrap().ok().unwrap();
    let all = get("?order_by=media_length").await;
    assert_eq!(
        (all["total"].as_i64(), ids(&all["media"])),
        (Some(2), vec![id(&small), id(&large)])
    );
    assert!(all.get("next_token").is_none(), "{all}");
    let first = &all["media"][0];
    assert_eq!(
        (&first["upload_name"], &first["media_type"]),
        (&json!("b.txt"), &json!("text/plain"))
    );
    assert_eq!((&first["media_length"], &first["quarantined_by"]), (&json!(1), &Value::Null));
    assert_eq!(first["safe_from_quarantine"], false);
    assert!(first["created_ts"].is_i64() && first["last_access_ts"].is_i64());
    let page = get("?order_by=upload_name&limit=1").await;
    assert_eq!((ids(&page["media"]), &page["next_token"]), (vec![id(&large)], &json!(1)));
    let page = get("?order_by=upload_name&limit=1&from=1").await;
    assert_eq!(ids(&page["media"]), [id(&small)]);
    for order in [
        "media_id",
        "created_ts",
        "last_access_ts",
        "media_type",
        "quarantined_by",
        "safe_from_quarantine",
    ] {
        let found = get(&format!("?order_by={order}&dir=b")).await;
        assert_eq!(found["media"].as_array().unwrap().len(), 2, "{order}");
    }
    let one = admin.api.get(&of(ONE, &large)).await.unwrap().ok().unwrap();
    assert_eq!(one["media_info"]["user_id"], *alice.id);
    assert_eq!(one["media_info"]["sha256"].as_str().unwrap().len(), 64);

    let gone = admin.api.delete(&format!("{list}?order_by=media_length&limit=1")).await.unwrap();
    assert_eq!(gone.ok().unwrap(), json!({ "deleted_media": [id(&small)], "total": 1 }));
    assert!(!is_given(&alice, &small).await && is_given(&alice, &large).await);
    let gone = admin.api.delete(&of(ONE, &large)).await.unwrap().ok().unwrap();
    assert_eq!(gone, json!({ "deleted_media": [id(&large)], "total": 1 }));
    assert!(!is_given(&alice, &large).await);
    assert_eq!(get("").await, json!({ "media": [], "total": 0 }));
    admin.api.delete(&of(ONE, &large)).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn it_is_told_who_uploaded_how_much() {
    let admin = support::admin().await;
    let zoe = support::user("zoe-of-the-files").await;
    let name = path("/_matrix/client/v3/profile/{}/displayname", &[&zoe.id]);
    zoe.api.put(&name, json!({ "displayname": "Zoë" })).await.unwrap().ok().unwrap();
    upload(&zoe, "text/plain", "", b"one").await;
    upload(&zoe, "text/plain", "", b"three").await;
    let get = async |query: &str| {
        let target = format!("/_synapse/admin/v1/statistics/users/media{query}");
        admin.api.get(&target).await.unwrap()
    };
    for order in ["user_id", "displayname", "media_length", "media_count"] {
        let found = get(&format!("?search_term=OF-the-files&order_by={order}")).await.ok().unwrap();
        assert_eq!(found["total"], 1);
        let user = &found["users"][0];
        assert_eq!((&user["user_id"], &user["media_count"]), (&json!(zoe.id), &json!(2)));
        assert_eq!(user["media_length"], 8);
        assert_eq!(user["displayname"], "Zoë");
    }
    let none = get("?search_term=of-the-files&until_ts=1").await.ok().unwrap();
    assert_eq!(none, json!({ "users": [], "total": 0 }));
    for query in ["?from_ts=-1", "?until_ts=0", "?search_term=", "?order_by=nonsense", "?limit=-1"]
    {
        get(query).await.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
}

#[tokio::test]
async fn content_that_is_quarantined_is_given_to_nobody_under_any_name() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let first = upload(&alice, "text/plain", "", b"bad content").await;
    assert_eq!(ask(&admin, &of(QUARANTINE, &first)).await, json!({}));
    assert!(!is_given(&alice, &first).await);
    let thumbnail = "/_matrix/client/v1/media/thumbnail/{}/{}?width=9&height=9";
    let answer = alice.api.get(&of(thumbnail, &first)).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
    let again = upload(&alice, "text/plain", "", b"bad content").await;
    assert!(!is_given(&alice, &again).await);
    let info = admin.api.get(&of(ONE, &again)).await.unwrap().ok().unwrap();
    assert_eq!(info["media_info"]["quarantined_by"], *admin.id);
    assert_eq!(ask(&admin, &of(RELEASE, &again)).await, json!({}));
    assert!(is_given(&alice, &first).await && is_given(&alice, &again).await);

    let protect = at("/v1/media/protect/{}", &[id(&first)]);
    assert_eq!(ask(&admin, &protect).await, json!({}));
    ask(&admin, &of(QUARANTINE, &again)).await;
    assert!(is_given(&alice, &again).await);
    ask(&admin, &at("/v1/media/unprotect/{}", &[id(&first)])).await;
    ask(&admin, &of(QUARANTINE, &again)).await;
    assert!(!is_given(&alice, &first).await);
}

#[tokio::test]
async fn the_files_of_a_user_and_of_a_room_are_quarantined() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let mine = [
        upload(&alice, "text/plain", "", b"1 of Alice").await,
        upload(&alice, "text/plain", "", b"2 of Alice").await,
    ];
    ask(&admin, &at("/v1/media/protect/{}", &[id(&mine[1])])).await;
    let quarantine = at("/v1/user/{}/media/quarantine", &[&alice.id]);
    assert_eq!(ask(&admin, &quarantine).await, json!({ "num_quarantined": 1 }));
    assert!(!is_given(&alice, &mine[0]).await && is_given(&alice, &mine[1]).await);

    let bob = support::user("bob").await;
    let peer = support::peer().await;
    peer.answer("download", parts("text/plain", b"far and bad"));
    let far = format!("mxc://{}/far", peer.name);
    assert!(is_given(&bob, &far).await);
    let unseen = format!("mxc://{}/unseen", peer.name);
    let named = [
        upload(&bob, "text/plain", "", b"plain").await,
        upload(&bob, "text/plain", "", b"encrypted").await,
    ];
    let room = bob.create_room(json!({})).await.unwrap();
    for content in [
        json!({ "msgtype": "m.image", "body": "", "url": named[0] }),
        json!({ "msgtype": "m.image", "body": "", "file": { "url": named[1] },
            "info": { "thumbnail_url": far, "thumbnail_file": { "url": unseen } } }),
        json!({ "msgtype": "m.text", "body": "", "url": 7, "info": [] }),
    ] {
        bob.send(&room, "m.room.message", content).await.unwrap();
    }
    let list = at("/v1/room/{}/media", &[&room]);
    let found = admin.api.get(&list).await.unwrap().ok().unwrap();
    assert_eq!(found, json!({ "local": named, "remote": [far, unseen] }));
    let quarantined = ask(&admin, &format!("{list}/quarantine")).await;
    assert_eq!(quarantined, json!({ "num_quarantined": 3 }));
    for uri in named.iter().chain([&far]) {
        assert!(!is_given(&bob, uri).await, "{uri}");
    }
    // It is known again when it is fetched again.
    let purge = format!("/_synapse/admin/v1/purge_media_cache?before_ts={LATER}");
    ask(&admin, &purge).await;
    assert!(!is_given(&bob, &far).await);
    assert_eq!(peer.seen("download").len(), 2);
}

#[tokio::test]
async fn what_is_old_is_removed() {
    let server = support::server_with(&[]).await;
    let admin = User::admin(&server, "admin").await.unwrap();
    let alice = User::register(&server, "alice").await.unwrap();
    let peer = support::peer().await;
    peer.answer("download", parts("text/plain", b"far"));
    let far = format!("mxc://{}/far", peer.name);
    assert!(is_given(&alice, &far).await);
    let avatar = upload(&alice, "image/png", "", b"my face").await;
    let of_room = upload(&alice, "image/png", "", b"our house").await;
    let small = upload(&alice, "image/png", "", b"s").await;
    let large = upload(&alice, "image/png", "", b"rather large").await;
    let profile = path("/_matrix/client/v3/profile/{}/avatar_url", &[&alice.id]);
    alice.api.put(&profile, json!({ "avatar_url": avatar })).await.unwrap().ok().unwrap();
    let room = alice.create_room(json!({})).await.unwrap();
    alice.set_state(&room, "m.room.avatar", "", json!({ "url": of_room })).await.unwrap();
    let delete = async |query: &str| -> Answer {
        let target = format!("/_synapse/admin/v1/media/delete{query}");
        admin.api.post(&target, json!({})).await.unwrap()
    };
    let deleted = |answer: Answer| answer.ok().unwrap()["deleted_media"].clone();
    assert_eq!(deleted(delete("?before_ts=1000000000000").await), json!([]));
    assert_eq!(
        deleted(delete(&format!("?before_ts={LATER}&size_gt=5")).await),
        json!([id(&large)])
    );
    assert_eq!(deleted(delete(&format!("?before_ts={LATER}")).await), json!([id(&small)]));
    assert!(is_given(&alice, &avatar).await && is_given(&alice, &of_room).await);
    let own = format!("/_synapse/admin/v1/media/{}/delete", server.name());
    let own = format!("{own}?before_ts={LATER}&keep_profiles=false");
    let gone = admin.api.post(&own, json!({})).await.unwrap().ok().unwrap();
    assert_eq!(gone["total"], 2);
    assert!(!is_given(&alice, &avatar).await);
    let purge = format!("/_synapse/admin/v1/purge_media_cache?before_ts={LATER}");
    assert_eq!(ask(&admin, &purge).await, json!({ "deleted": 1 }));
    assert!(is_given(&alice, &far).await);
    assert_eq!(peer.seen("download").len(), 2);

    delete("").await.expect_error(400, "M_MISSING_PARAM").unwrap();
    delete("?before_ts=1700000000").await.expect_error(400, "M_INVALID_PARAM").unwrap();
    delete(&format!("?before_ts={LATER}&size_gt=-1"))
        .await
        .expect_error(400, "M_INVALID_PARAM")
        .unwrap();
    for target in [
        "/_synapse/admin/v1/purge_media_cache?before_ts=1700000000".to_owned(),
        format!("/_synapse/admin/v1/media/elsewhere.example/delete?before_ts={LATER}"),
    ] {
        let answer = admin.api.post(&target, json!({})).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let answer = admin.api.delete(&of(ONE, &far)).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
}

#[tokio::test]
async fn what_is_not_here_is_not_found() {
    let admin = support::admin().await;
    for target in [
        at("/v1/media/quarantine/{}/{}", &["example.org", "nothing"]),
        at("/v1/media/unquarantine/{}/{}", &["example.org", "nothing"]),
        at("/v1/media/quarantine/{}/{}", &["no name", "nothing"]),
        at("/v1/media/protect/{}", &["nothing"]),
        at("/v1/media/unprotect/{}", &["no thing"]),
        at("/v1/room/{}/media/quarantine", &["!nowhere:example.org"]),
    ] {
        let answer = admin.api.post(&target, json!({})).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
    let nobody = admin.id.replace("@admin", "@nobody");
    for target in [
        at("/v1/users/{}/media", &[&nobody]),
        at("/v1/room/{}/media", &["!nowhere:example.org"]),
        at("/v1/media/{}/{}", &["example.org", "nothing"]),
    ] {
        admin.api.get(&target).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    }
}
