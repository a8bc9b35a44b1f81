//! POST /_matrix/client/v3/search

use serde_json::{Value, json};
use starling_conformance::client::{Answer, Api, User, path};

use crate::support;

async fn post(user: &User, criteria: Value) -> Answer {
    let body = json!({ "search_categories": { "room_events": criteria } });
    user.api.post("/_matrix/client/v3/search", body).await.unwrap()
}

async fn search(user: &User, criteria: Value) -> Value {
    let mut answer = post(user, criteria).await.ok().unwrap();
    answer["search_categories"]["room_events"].take()
}

async fn page(user: &User, criteria: &Value, next_batch: &str) -> Value {
    let target = path("/_matrix/client/v3/search?next_batch={}", &[next_batch]);
    let body = json!({ "search_categories": { "room_events": criteria } });
    let mut answer = user.api.post(&target, body).await.unwrap().ok().unwrap();
    answer["search_categories"]["room_events"].take()
}

async fn term(user: &User, term: &str) -> Vec<String> {
    ids(&search(user, json!({ "search_term": term, "order_by": "recent" })).await)
}

fn ids(found: &Value) -> Vec<String> {
    let results = found["results"].as_array().unwrap().iter();
    results.map(|result| result["result"]["event_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn messages_names_and_topics_are_found_by_their_words() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let said = alice.say(&room, "Straight from the Orchard!").await.unwrap();
    let content = json!({ "name": "Orchard club" });
    let name = alice.set_state(&room, "m.room.name", "", content).await.unwrap();
    let content = json!({ "topic": "all about our orchard" });
    let topic = alice.set_state(&room, "m.room.topic", "", content).await.unwrap();

    let all = search(&alice, json!({ "search_term": "orchard", "order_by": "recent" })).await;
    assert_eq!(ids(&all), [&*topic, &*name, &*said]);
    assert_eq!(all["count"], 3);
    assert_eq!(all["highlights"], json!(["orchard"]));
    assert_eq!(all.get("next_batch"), None);
    let first = &all["results"][2];
    assert_eq!(first["result"]["room_id"], json!(room));
    assert_eq!(first["result"]["content"]["body"], "Straight from the Orchard!");
    assert!(first["rank"].is_number());
    assert_eq!(first.get("context"), None);
    for (key, event) in [("content.body", said), ("content.name", name), ("content.topic", topic)] {
        let found = search(&alice, json!({ "search_term": "orchard", "keys": [key] })).await;
        assert_eq!((ids(&found), &found["count"]), (vec![event], &json!(1)));
    }
    assert_eq!(term(&alice, "orchards").await, [""; 0]);
}

#[tokio::test]
async fn words_are_found_in_every_script() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    for (body, query) in [
        ("私は京都に行きました", "京都"),
        ("这个服务器很快", "服务器"),
        ("학교에서 만나요", "학교"),
        ("ฉันอยู่ที่กรุงเทพมหานคร", "กรุงเทพ"),
        ("Ёжик в тумане", "ежик"),
        ("ΜΕΓΑΛΗ οδός", "μεγάλη"),
        ("مَدْرَسَة كبيرة", "مدرسة"),
        ("Crème brûlée, s'il vous plaît", "creme brulee"),
    ] {
        let said = alice.say(&room, body).await.unwrap();
        assert_eq!(term(&alice, query).await, [said], "{query}");
    }
}

#[tokio::test]
async fn only_rooms_that_one_is_or_was_in_are_searched() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let stranger = support::user("stranger").await;
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    let before = alice.say(&room, "walnut one").await.unwrap();
    bob.leave(&room).await.unwrap();
    let after = alice.say(&room, "walnut two").await.unwrap();
    let of_bob = search(&bob, json!({ "search_term": "walnut" })).await;
    assert_eq!((ids(&of_bob), &of_bob["count"]), (vec![before.clone()], &json!(1)));
    assert_eq!(term(&alice, "walnut").await, [after, before]);
    let of_stranger = search(&stranger, json!({ "search_term": "walnut" })).await;
    assert_eq!((ids(&of_stranger), &of_stranger["count"]), (vec![], &json!(0)));
    let forget = path("/_matrix/client/v3/rooms/{}/forget", &[&room]);
    bob.api.post(&forget, json!({})).await.unwrap().ok().unwrap();
    assert_eq!(term(&bob, "walnut").await, [""; 0]);
}

#[tokio::test]
async fn the_filter_decides_which_events() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let one = alice.create_public_room().await.unwrap();
    let two = alice.create_public_room().await.unwrap();
    bob.join(&one, &[]).await.unwrap();
    let first = alice.say(&one, "hazelnut").await.unwrap();
    let second = bob.say(&one, "hazelnut").await.unwrap();
    let content = json!({ "msgtype": "m.image", "body": "hazelnut", "url": "mxc://x/y" });
    let image = alice.send(&two, "m.room.message", content).await.unwrap();
    let name = json!({ "name": "hazelnut" });
    let name = alice.set_state(&two, "m.room.name", "", name).await.unwrap();
    for (filter, events) in [
        (json!({}), vec![&name, &image, &second, &first]),
        (json!({ "rooms": [one] }), vec![&second, &first]),
        (json!({ "not_rooms": [one] }), vec![&name, &image]),
        (json!({ "rooms": [] }), vec![]),
        (json!({ "senders": [bob.id] }), vec![&second]),
        (json!({ "not_senders": [bob.id], "types": ["m.room.message"] }), vec![&image, &first]),
        (json!({ "not_types": ["m.room.mess*"] }), vec![&name]),
        (json!({ "contains_url": true }), vec![&image]),
        (json!({ "limit": 1 }), vec![&name]),
        (json!({ "limit": 1_000_000_000 }), vec![&name, &image, &second, &first]),
        (json!({ "limit": 0 }), vec![]),
    ] {
        let criteria = json!({ "search_term": "hazelnut", "order_by": "recent", "filter": filter });
        let found = search(&alice, criteria).await;
        assert_eq!(ids(&found).iter().collect::<Vec<_>>(), events, "{filter}");
        assert_eq!(found["next_batch"].is_string(), filter["limit"] == 1, "{filter}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_both_orders() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let mut said = vec![];
    for number in 0..7 {
        // The later, the more often.
        let body = "pistachio ".repeat(number + 1);
        said.insert(0, alice.say(&room, &body).await.unwrap());
    }
    for order in ["recent", "rank"] {
        let filter = json!({ "limit": 3 });
        let criteria = json!({ "search_term": "pistachio", "order_by": order, "filter": filter });
        let mut found = search(&alice, criteria.clone()).await;
        let mut all = ids(&found);
        let ranks = found["results"].as_array().unwrap().iter();
        let ranks: Vec<f64> = ranks.map(|result| result["rank"].as_f64().unwrap()).collect();
        assert!(order == "recent" || ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
        while let Some(next) = found["next_batch"].as_str().map(str::to_owned) {
            found = page(&alice, &criteria, &next).await;
            assert_eq!(found["count"], 7);
            all.extend(ids(&found));
        }
        if order == "rank" {
            all.sort_by_key(|id| said.iter().position(|said| said == id));
        }
        assert_eq!(all, said, "{order}");
    }
}

#[tokio::test]
async fn results_are_put_together_by_room_and_sender() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let one = alice.create_public_room().await.unwrap();
    let two = alice.create_public_room().await.unwrap();
    bob.join(&one, &[]).await.unwrap();
    let first = alice.say(&one, "almond").await.unwrap();
    let second = bob.say(&one, "almond").await.unwrap();
    let third = alice.say(&two, "almond").await.unwrap();
    let criteria = json!({
        "search_term": "almond", "order_by": "recent", "filter": { "limit": 2 },
        "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] },
    });
    let found = search(&alice, criteria.clone()).await;
    assert_eq!(ids(&found), [&*third, &*second]);
    let groups = &found["groups"];
    assert_eq!(groups["room_id"][&two]["results"], json!([third]));
    assert_eq!(groups["room_id"][&one]["results"], json!([second]));
    assert_eq!(groups["room_id"][&two]["order"], 0);
    assert_eq!(groups["room_id"][&one]["order"], 1);
    assert_eq!(groups["sender"][&bob.id]["results"], json!([second]));
    // A group goes on by itself.
    let next = groups["room_id"][&one]["next_batch"].as_str().unwrap();
    assert_eq!(ids(&page(&alice, &criteria, next).await), [&*first]);
    let next = groups["sender"][&alice.id]["next_batch"].as_str().unwrap();
    assert_eq!(ids(&page(&alice, &criteria, next).await), [&*first]);
    let next = groups["sender"][&bob.id]["next_batch"].as_str().unwrap();
    assert_eq!(ids(&page(&alice, &criteria, next).await), [""; 0]);
}

#[tokio::test]
async fn context_profiles_and_state_come_when_they_are_wanted() {
    let alice = support::user("alice").await;
    let profile = path("/_matrix/client/v3/profile/{}/displayname", &[&alice.id]);
    alice.api.put(&profile, json!({ "displayname": "Alice A." })).await.unwrap().ok().unwrap();
    let room = alice.create_public_room().await.unwrap();
    for number in 1..=7 {
        alice.say(&room, &format!("Message number {number}")).await.unwrap();
    }
    let found = search(
        &alice,
        json!({
            "search_term": "message 4", "include_state": true,
            "event_context": { "before_limit": 2, "after_limit": 1, "include_profile": true },
        }),
    )
    .await;
    let context = &found["results"][0]["context"];
    let bodies = |events: &Value| -> Vec<String> {
        let events = events.as_array().unwrap().iter();
        events.map(|event| event["content"]["body"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(bodies(&context["events_before"]), ["Message number 3", "Message number 2"]);
    assert_eq!(bodies(&context["events_after"]), ["Message number 5"]);
    assert_eq!(context["profile_info"][&alice.id]["displayname"], "Alice A.");
    let state = found["state"][&room].as_array().unwrap();
    assert!(state.iter().any(|event| event["type"] == "m.room.create"));
    // The tokens are those of /messages.
    let start = context["start"].as_str().unwrap();
    let target =
        path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=1&from={}", &[&room, start]);
    let earlier = alice.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(earlier["chunk"][0]["content"]["body"], "Message number 1");
    let end = context["end"].as_str().unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/messages?dir=f&limit=1&from={}", &[&room, end]);
    let later = alice.api.get(&target).await.unwrap().ok().unwrap();
    assert_eq!(later["chunk"][0]["content"]["body"], "Message number 6");
    // As much as the server gives, and by default.
    let many = json!({ "before_limit": 1_000_000_000, "after_limit": 0 });
    let found = search(&alice, json!({ "search_term": "message 4", "event_context": many })).await;
    let context = &found["results"][0]["context"];
    assert!(context["events_before"].as_array().unwrap().len() > 3);
    assert_eq!(context["events_after"], json!([]));
    assert_eq!(context.get("profile_info"), None);
    let found = search(&alice, json!({ "search_term": "message 1", "event_context": {} })).await;
    assert_eq!(bodies(&found["results"][0]["context"]["events_after"]).len(), 5);
}

#[tokio::test]
async fn redacted_and_edited_messages_are_found_as_they_are_now() {
    let alice = support::user("alice").await;
    let room = alice.create_public_room().await.unwrap();
    let redacted = alice.say(&room, "chestnut one").await.unwrap();
    let edited = alice.say(&room, "chestnut two").await.unwrap();
    assert_eq!(term(&alice, "chestnut").await, [&*edited, &*redacted]);
    alice.redact(&room, &redacted).await.unwrap();
    let edit = json!({
        "msgtype": "m.text", "body": "* chestnut three",
        "m.new_content": { "msgtype": "m.text", "body": "chestnut three" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": edited },
    });
    alice.send(&room, "m.room.message", edit).await.unwrap();
    let found = search(&alice, json!({ "search_term": "chestnut", "order_by": "recent" })).await;
    assert_eq!((ids(&found), &found["count"]), (vec![edited], &json!(1)));
    let replaced = &found["results"][0]["result"]["unsigned"]["m.relations"]["m.replace"];
    assert_eq!(replaced["content"]["m.new_content"]["body"], "chestnut three");
    assert_eq!(term(&alice, "chestnut two").await, [""; 0]);
}

#[tokio::test]
async fn what_ignored_users_say_is_not_found() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    bob.say(&room, "cashew").await.unwrap();
    assert_eq!(term(&alice, "cashew").await.len(), 1);
    let ignored = json!({ "ignored_users": { (&*bob.id): {} } });
    let list = path("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", &[&alice.id]);
    alice.api.put(&list, ignored).await.unwrap().ok().unwrap();
    assert_eq!(term(&alice, "cashew").await, [""; 0]);
}

#[tokio::test]
async fn what_is_no_search_is_refused() {
    let alice = support::user("alice").await;
    let long = "x ".repeat(3_000);
    for (criteria, errcode) in [
        (json!({}), "M_MISSING_PARAM"),
        (json!({ "search_term": 1 }), "M_BAD_JSON"),
        (json!({ "search_term": long }), "M_INVALID_PARAM"),
        (json!({ "search_term": "x", "keys": ["content.other"] }), "M_INVALID_PARAM"),
        (json!({ "search_term": "x", "keys": "content.body" }), "M_BAD_JSON"),
        (json!({ "search_term": "x", "order_by": "size" }), "M_INVALID_PARAM"),
        (json!({ "search_term": "x", "filter": { "limit": -1 } }), "M_BAD_JSON"),
        (json!({ "search_term": "x", "filter": { "rooms": ["nope"] } }), "M_BAD_JSON"),
        (json!({ "search_term": "x", "event_context": { "after_limit": -1 } }), "M_BAD_JSON"),
        (json!({ "search_term": "x", "groupings": { "group_by": [{}] } }), "M_MISSING_PARAM"),
        (
            json!({ "search_term": "x", "groupings": { "group_by": [{ "key": "type" }] } }),
            "M_INVALID_PARAM",
        ),
    ] {
        post(&alice, criteria).await.expect_error(400, errcode).unwrap();
    }
    let target = "/_matrix/client/v3/search";
    let answer = alice.api.post(target, json!({})).await.unwrap();
    answer.expect_error(400, "M_MISSING_PARAM").unwrap();
    let answer = alice.api.post(target, json!({ "search_categories": {} })).await.unwrap();
    assert_eq!(answer.ok().unwrap(), json!({ "search_categories": {} }));
    for term in ["", " -- ", "\u{0}", "\u{10FFFF}\u{200D}"] {
        let found = search(&alice, json!({ "search_term": term })).await;
        assert_eq!((&found["count"], &found["results"]), (&json!(0), &json!([])), "{term:?}");
    }
    let anonymous = support::anonymous().await;
    let answer = anonymous.post(target, json!({})).await.unwrap();
    answer.expect_error(401, "M_MISSING_TOKEN").unwrap();
}

#[tokio::test]
async fn tokens_that_are_made_up_do_no_harm() {
    let (alice, bob) = (support::user("alice").await, support::user("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await.unwrap();
    alice.say(&room, "macadamia").await.unwrap();
    let body = json!({ "search_categories": { "room_events": {
        "search_term": "macadamia", "order_by": "recent",
    } } });
    for token in ["", "nonsense", "s1t_1_1_1_1", "s1k_9_9_9_9_a", "s1t_1_1_1_-1_a"] {
        let target = path("/_matrix/client/v3/search?next_batch={}", &[token]);
        let answer = bob.api.post(&target, body.clone()).await.unwrap();
        answer.expect_error(400, "M_INVALID_PARAM").unwrap();
    }
    let end = i64::MAX;
    for token in
        [format!("s1t_{end}_0_{end}_9_r{room}"), format!("s1t_{end}_0_{end}_9_s{}", alice.id)]
    {
        let target = path("/_matrix/client/v3/search?next_batch={}", &[&token]);
        let found = bob.api.post(&target, body.clone()).await.unwrap().ok().unwrap();
        assert_eq!(found["search_categories"]["room_events"]["results"], json!([]), "{token}");
    }
}

#[tokio::test]
async fn who_searches_without_end_is_stopped() {
    let spec = support::spec().with_setting("RATE_LIMITS__ENABLED", "true");
    let server = support::start(spec).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let api: &Api = &alice.api;
    let body = json!({ "search_categories": { "room_events": { "search_term": "x" } } });
    for _ in 0..200 {
        let answer = api.post("/_matrix/client/v3/search", body.clone()).await.unwrap();
        if answer.status != 200 {
            let body = answer.expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
            assert!(body["retry_after_ms"].is_u64());
            return;
        }
    }
    panic!("200 searches were let through");
}

#[tokio::test]
async fn what_was_acknowledged_is_found_after_a_crash() {
    let server = support::start(support::spec()).await;
    let alice = User::register(&server, "alice").await.unwrap();
    let room = alice.create_public_room().await.unwrap();
    let mut said = vec![];
    for round in 0..3 {
        for _ in 0..20 {
            said.insert(0, alice.say(&room, &format!("brazilnut {round}")).await.unwrap());
        }
        // Some of them are in the index then, and some are not.
        if round == 1 {
            assert_eq!(term(&alice, "brazilnut").await, said[..10]);
        }
        server.kill().unwrap();
        server.resume().await.unwrap();
        let criteria = json!({
            "search_term": "brazilnut", "order_by": "recent", "filter": { "limit": 100 },
        });
        assert_eq!(ids(&search(&alice, criteria).await), said);
    }
    alice.redact(&room, &said[0]).await.unwrap();
    server.kill().unwrap();
    server.resume().await.unwrap();
    assert_eq!(term(&alice, "brazilnut").await, said[1..11]);
}
