//! GET /_synapse/admin/v2/users
//! GET /_synapse/admin/v3/users
//! GET /_synapse/admin/v2/users/{userId}
//! PUT /_synapse/admin/v2/users/{userId}
//! and what else there is about one user.

use serde_json::{Value, json};
use starling_conformance::client::{Api, PASSWORD, User, path};

use super::at;
use crate::support;

async fn log_in(user: &str, password: &str) -> starling_conformance::client::Answer {
    let body = json!({
        "type": "m.login.password", "password": password,
        "identifier": { "type": "m.id.user", "user": user },
    });
    support::anonymous().await.post("/_matrix/client/v3/login", body).await.unwrap()
}

async fn get(admin: &User, target: &str) -> Value {
    admin.api.get(target).await.unwrap().ok().unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn users_are_listed_filtered_and_paged() {
    let admin = support::admin().await;
    let (ann, bob) = (support::user("lister-ann").await, support::user("lister-bob").await);
    let name = path("/_matrix/client/v3/profile/{}/displayname", &[&bob.id]);
    let display = format!("Zoë 100% {}", bob.id);
    bob.api.put(&name, json!({ "displayname": display })).await.unwrap().ok().unwrap();

    let found = get(&admin, &at("/v2/users?user_id={}", &[&ann.id])).await;
    assert_eq!(names(&found), [&ann.id]);
    assert_eq!(found["total"], 1);
    assert_eq!(found["users"][0]["displayname"], Value::Null);
    assert_eq!(found["users"][0]["admin"], false);
    let found = get(&admin, &at("/v2/users?name={}", &["00% @lister-bob"])).await;
    assert!(names(&found).contains(&&*bob.id), "{found}");
    let found = get(&admin, &at("/v2/users?name={}", &["lister-b%b"])).await;
    assert_eq!(found["total"], 0);
    let found = get(&admin, &at("/v2/users?name=lister-&admins=true", &[])).await;
    assert_eq!(found["total"], 0);

    let base = "/v2/users?name=lister-&order_by=creation_ts&dir=b";
    let all = get(&admin, &at(base, &[])).await;
    let total = all["total"].as_i64().unwrap();
    assert!(total >= 2 && all.get("next_token").is_none(), "{all}");
    let mut paged = Vec::new();
    let mut from = "0".to_owned();
    loop {
        let page = get(&admin, &at(&format!("{base}&limit=1&from={from}"), &[])).await;
        paged.extend(names(&page).into_iter().map(str::to_owned));
        match page["next_token"].as_str() {
            Some(next) => from = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(i64::try_from(paged.len()).unwrap(), total);
    assert!(paged.contains(&ann.id) && paged.contains(&bob.id));
    for query in ["from=-1", "limit=x", "order_by=password", "dir=up"] {
        let answer = admin.api.get(&at(&format!("/v2/users?{query}"), &[])).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
}

#[tokio::test]
async fn an_account_is_made_changed_locked_and_closed() {
    let admin = support::admin().await;
    let template = support::user("made").await;
    let id = template.id.replace("@made-", "@made-by-admin-");
    let target = at("/v2/users/{}", &[&id]);
    admin.api.get(&target).await.unwrap().expect_error(404, "M_NOT_FOUND").unwrap();
    let body = json!({ "password": "first", "displayname": "Made", "admin": true });
    let answer = admin.api.put(&target, body).await.unwrap();
    assert_eq!(answer.status, 201);
    let user = answer.ok().unwrap();
    assert_eq!((&user["name"], &user["displayname"]), (&json!(id), &json!("Made")));
    assert_eq!((&user["admin"], &user["locked"]), (&json!(true), &json!(false)));

    let token = log_in(&id, "first").await.ok().unwrap()["access_token"].clone();
    let api = support::anonymous().await.with_token(token.as_str().unwrap());
    let whoami = async |api: &Api| api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    let kept = json!({ "password": "second", "logout_devices": false });
    assert_eq!(admin.api.put(&target, kept).await.unwrap().status, 200);
    whoami(&api).await.ok().unwrap();
    log_in(&id, "first").await.expect_error(403, "M_FORBIDDEN").unwrap();

    let locked = json!({ "locked": true, "admin": false, "displayname": "" });
    let user = admin.api.put(&target, locked).await.unwrap().ok().unwrap();
    assert_eq!((&user["locked"], &user["admin"]), (&json!(true), &json!(false)));
    assert_eq!(user["displayname"], Value::Null);
    whoami(&api).await.expect_error(401, "M_USER_LOCKED").unwrap();
    let hidden = get(&admin, &at("/v2/users?user_id={}", &[&id])).await;
    assert_eq!(hidden["total"], 0);
    let shown = get(&admin, &at("/v2/users?locked=true&user_id={}", &[&id])).await;
    assert_eq!(shown["total"], 1);
    admin.api.put(&target, json!({ "locked": false })).await.unwrap().ok().unwrap();
    whoami(&api).await.ok().unwrap();

    let both = json!({ "deactivated": true, "password": "third" });
    let answer = admin.api.put(&target, both).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    let user = admin.api.put(&target, json!({ "deactivated": true })).await.unwrap().ok().unwrap();
    assert_eq!(user["deactivated"], true);
    whoami(&api).await.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    let again = json!({ "password": "fourth" });
    admin.api.put(&target, again).await.unwrap().expect_error(400, "M_INVALID_PARAM").unwrap();
    let listed = async |query: &str| {
        get(&admin, &at(&format!("/{query}user_id={{}}"), &[&id])).await["total"].clone()
    };
    assert_eq!(listed("v2/users?").await, 0);
    assert_eq!(listed("v2/users?deactivated=true&").await, 1);
    assert_eq!(listed("v3/users?").await, 1);
    assert_eq!(listed("v3/users?deactivated=false&").await, 0);

    let open = json!({ "deactivated": false, "password": "fifth" });
    admin.api.put(&target, open).await.unwrap().ok().unwrap();
    log_in(&id, "fifth").await.ok().unwrap();
}

#[tokio::test]
async fn accounts_are_refused_that_cannot_be() {
    let admin = support::admin().await;
    for (user, status, errcode) in [
        ("@somebody:elsewhere.example.org", 400, "M_INVALID_PARAM"),
        ("nobody", 400, "M_INVALID_PARAM"),
    ] {
        let target = at("/v2/users/{}", &[user]);
        let answer = admin.api.put(&target, json!({ "password": "x" })).await.unwrap();
        answer.expect_error(status, errcode).unwrap();
        admin.api.get(&target).await.unwrap().expect_error(status, errcode).unwrap();
    }
    let capital = admin.id.replace("@admin-", "@Admin-");
    let answer = admin.api.put(&at("/v2/users/{}", &[&capital]), json!({})).await.unwrap();
    answer.expect_error(400, "M_INVALID_USERNAME").unwrap();
    let own = at("/v2/users/{}", &[&admin.id]);
    for body in [json!({ "admin": false }), json!({ "locked": true })] {
        let answer = admin.api.put(&own, body).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let target = at("/v1/users/{}/admin", &[&admin.id]);
    let answer = admin.api.put(&target, json!({ "admin": false })).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    assert_eq!(get(&admin, &target).await, json!({ "admin": true }));
    let answer = admin.api.put(&own, json!({ "password": 5 })).await.unwrap();
    answer.expect_error(400, "M_BAD_JSON").unwrap();
}

#[tokio::test]
async fn the_addresses_of_an_account_are_shown_and_replaced() {
    let admin = support::admin().await;
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let (target, of_bob) = (at("/v2/users/{}", &[&alice.id]), at("/v2/users/{}", &[&bob.id]));
    let list = |addresses: &[&str]| {
        let list = addresses.iter().map(|it| json!({ "medium": "email", "address": it }));
        json!({ "threepids": list.collect::<Vec<_>>() })
    };
    let localpart = alice.id.split([':', '@']).nth(1).unwrap();
    let (first, second) = (format!("{localpart}@one.org"), format!("{localpart}@two.org"));
    assert_eq!(get(&admin, &target).await["threepids"], json!([]));
    for address in [&first, &second] {
        let body = list(&[address]);
        let shown = admin.api.put(&target, body).await.unwrap().ok().unwrap();
        assert_eq!(shown["threepids"].as_array().unwrap().len(), 1);
        assert_eq!(shown["threepids"][0]["medium"], "email");
        assert_eq!(shown["threepids"][0]["address"], address.as_str());
        assert!(shown["threepids"][0]["added_at"].is_i64(), "{shown}");
    }
    let other = json!({ "medium": "msisdn", "address": "441" });
    for (body, errcode) in [
        (list(&[&second]), "M_THREEPID_IN_USE"),
        (list(&["nothing"]), "M_INVALID_PARAM"),
        (json!({ "threepids": [other] }), "M_INVALID_PARAM"),
    ] {
        let answer = admin.api.put(&of_bob, body).await.unwrap();
        answer.expect_error(400, errcode).unwrap();
    }
    admin.api.put(&of_bob, list(&[&first])).await.unwrap().ok().unwrap();
    let shown = admin.api.put(&target, list(&[])).await.unwrap().ok().unwrap();
    assert_eq!(shown["threepids"], json!([]));
}

#[tokio::test]
async fn administrators_do_not_restrict_each_other() {
    let admin = support::admin().await;
    let other = support::user("other").await;
    let target = at("/v2/users/{}", &[&other.id]);
    admin.api.put(&target, json!({ "admin": true })).await.unwrap().ok().unwrap();
    let suspend = at("/v1/suspend/{}", &[&other.id]);
    let answer = admin.api.put(&suspend, json!({ "suspend": true })).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let answer = admin.api.put(&target, json!({ "locked": true })).await.unwrap();
    answer.expect_error(403, "M_FORBIDDEN").unwrap();
    let less = json!({ "admin": false, "locked": true });
    let shown = admin.api.put(&target, less).await.unwrap().ok().unwrap();
    assert_eq!(shown["locked"], true);
}

#[tokio::test]
async fn passwords_are_reset_and_accounts_closed_and_suspended() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let reset = at("/v1/reset_password/{}", &[&alice.id]);
    let answer = admin.api.post(&reset, json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    admin.api.post(&reset, json!({ "new_password": "new" })).await.unwrap().ok().unwrap();
    let whoami = alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
    log_in(&alice.id, PASSWORD).await.expect_error(403, "M_FORBIDDEN").unwrap();
    let token = log_in(&alice.id, "new").await.ok().unwrap()["access_token"].clone();
    let api = support::anonymous().await.with_token(token.as_str().unwrap());

    let suspend = at("/v1/suspend/{}", &[&alice.id]);
    let answer = admin.api.put(&suspend, json!({ "suspend": true })).await.unwrap().ok().unwrap();
    assert_eq!(answer[format!("user_{}_suspended", alice.id)], true);
    assert_eq!(get(&admin, &at("/v2/users/{}", &[&alice.id])).await["suspended"], true);
    let room = api.post("/_matrix/client/v3/createRoom", json!({})).await.unwrap();
    room.expect_error(403, "M_USER_SUSPENDED").unwrap();
    admin.api.put(&suspend, json!({ "suspend": false })).await.unwrap().ok().unwrap();
    api.post("/_matrix/client/v3/createRoom", json!({})).await.unwrap().ok().unwrap();

    let close = at("/v1/deactivate/{}", &[&alice.id]);
    for _ in 0..2 {
        admin.api.post(&close, json!({ "erase": true })).await.unwrap().ok().unwrap();
    }
    let user = get(&admin, &at("/v2/users/{}", &[&alice.id])).await;
    assert_eq!((&user["deactivated"], &user["erased"]), (&json!(true), &json!(true)));
    let nobody = at("/v1/deactivate/{}", &[&alice.id.replace("alice", "nobody")]);
    let answer = admin.api.post(&nobody, json!({})).await.unwrap();
    answer.expect_error(404, "M_NOT_FOUND").unwrap();
}

#[tokio::test]
async fn an_administrator_acts_for_a_user() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let login = at("/v1/users/{}/login", &[&alice.id]);
    let token = admin.api.post(&login, json!({})).await.unwrap().ok().unwrap();
    let api = admin.api.with_token(token["access_token"].as_str().unwrap());
    let whoami = api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    assert_eq!(whoami["user_id"], *alice.id);
    let devices = alice.api.get("/_matrix/client/v3/devices").await.unwrap().ok().unwrap();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1);
    for body in [json!({ "valid_until_ms": 1 }), json!({ "valid_until_ms": "soon" })] {
        assert_eq!(admin.api.post(&login, body).await.unwrap().status, 400);
    }
    let own = at("/v1/users/{}/login", &[&admin.id]);
    let answer = admin.api.post(&own, json!({})).await.unwrap();
    answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    api.post("/_matrix/client/v3/logout/all", json!({})).await.unwrap().ok().unwrap();
    let whoami = api.get("/_matrix/client/v3/account/whoami").await.unwrap();
    whoami.expect_error(401, "M_UNKNOWN_TOKEN").unwrap();
}

#[tokio::test]
async fn it_is_shown_where_a_user_is_and_what_they_keep_here() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let (stays, left) =
        (alice.create_public_room().await.unwrap(), alice.create_public_room().await.unwrap());
    alice.leave(&left).await.unwrap();
    let joined = get(&admin, &at("/v1/users/{}/joined_rooms", &[&alice.id])).await;
    assert_eq!(joined, json!({ "joined_rooms": [stays], "total": 1 }));
    let memberships = get(&admin, &at("/v1/users/{}/memberships", &[&alice.id])).await;
    assert_eq!(memberships["memberships"], json!({ stays.clone(): "join", left: "leave" }));

    let own = path("/_matrix/client/v3/user/{}/account_data/org.example", &[&alice.id]);
    alice.api.put(&own, json!({ "a": 1 })).await.unwrap().ok().unwrap();
    let data = path("/_matrix/client/v3/user/{}/rooms/{}/account_data/x", &[&alice.id, &stays]);
    alice.api.put(&data, json!({ "b": 2 })).await.unwrap().ok().unwrap();
    let data = get(&admin, &at("/v1/users/{}/accountdata", &[&alice.id])).await;
    assert_eq!(data["account_data"]["global"]["org.example"], json!({ "a": 1 }));
    assert_eq!(data["account_data"]["rooms"][&stays]["x"], json!({ "b": 2 }));

    let whois = get(&admin, &at("/v1/whois/{}", &[&alice.id])).await;
    let connection = &whois["devices"][""]["sessions"][0]["connections"][0];
    assert!(connection["ip"].is_string() && connection["last_seen"].is_i64(), "{whois}");

    let taken = alice.id.split([':', '@']).nth(1).unwrap();
    let answer = admin.api.get(&at("/v1/username_available?username={}", &[taken])).await.unwrap();
    answer.expect_error(400, "M_USER_IN_USE").unwrap();
    let free = format!("{taken}-free");
    let answer = get(&admin, &at("/v1/username_available?username={}", &[&free])).await;
    assert_eq!(answer, json!({ "available": true }));
}

#[tokio::test]
async fn an_account_is_found_by_its_address() {
    let admin = support::admin().await;
    let alice = support::user("alice").await;
    let name = alice.id.trim_start_matches('@').split(':').next().unwrap();
    let address = format!("{name}@Example.org");
    let body = json!({ "threepids": [{ "medium": "email", "address": address }] });
    admin.api.put(&at("/v2/users/{}", &[&alice.id]), body).await.unwrap().ok().unwrap();
    let of = |medium: &str, address: &str| at("/v1/threepid/{}/users/{}", &[medium, address]);
    let found = get(&admin, &of("email", &address)).await;
    assert_eq!(found, json!({ "user_id": alice.id }));
    for (medium, address) in [("email", "nobody@example.org"), ("email", "x"), ("msisdn", "39123")]
    {
        let answer = admin.api.get(&of(medium, address)).await.unwrap();
        answer.expect_error(404, "M_NOT_FOUND").unwrap();
    }
}
