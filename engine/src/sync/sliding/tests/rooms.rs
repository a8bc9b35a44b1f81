//! What is told of rooms.

use std::collections::BTreeMap;

use serde_json::json;

use super::{after, ask, bodies, config, inside, listed, state};
use crate::{
    reading::stage::{ALICE, BOB, on_stage},
    sync::sliding::request::Request,
};

#[tokio::test]
async fn a_room_comes_once_and_then_what_is_new_of_it() {
    on_stage(async |mut stage| {
        stage.say(ALICE, "one").await;
        let request = || listed(config(1, &["m.room.create/", "m.room.name/"], false));
        let first = ask(&stage, ALICE, request()).await;
        assert_eq!(first.lists["all"], 1);
        let room = &first.rooms[stage.room.room_id.as_str()];
        assert!(room.initial && room.membership == "join" && room.lists == ["all"]);
        let whole = inside(&stage, &first);
        assert_eq!(
            (bodies(whole), state(whole)),
            (vec!["one".into()], vec!["m.room.create/".into()])
        );
        assert!(whole.limited && whole.prev_batch.is_some() && whole.num_live == 0);
        assert_eq!((whole.joined_count, whole.name.clone()), (Some(1), Some(None)));
        assert!(whole.heroes.is_some() && whole.is_dm == Some(false));

        let quiet = ask(&stage, ALICE, after(&first, request())).await;
        assert!(quiet.rooms.is_empty());
        stage.say(ALICE, "two").await;
        stage.set("m.room.name", json!({ "name": "N" })).await;
        let news = ask(&stage, ALICE, after(&quiet, request())).await;
        let room = &news.rooms[stage.room.room_id.as_str()];
        assert!(
            !room.initial && room.bump_stamp > first.rooms[stage.room.room_id.as_str()].bump_stamp
        );
        let new = inside(&stage, &news);
        assert_eq!(
            (bodies(new), state(new)),
            (vec!["m.room.name".into()], vec!["m.room.name/".into()])
        );
        assert!(new.limited && new.num_live == 1, "one of two is shown");
        assert_eq!((new.name.clone(), new.heroes.is_none()), (Some(Some("N".into())), true));
        assert_eq!(new.joined_count, None, "nobody came or went");
        // The same request again has the same answer.
        let again = ask(&stage, ALICE, after(&quiet, request())).await;
        assert_eq!(bodies(inside(&stage, &again)), ["m.room.name"]);
    })
    .await;
}

#[tokio::test]
async fn a_longer_timeline_and_more_state_come_at_once() {
    on_stage(async |mut stage| {
        for body in ["a", "b", "c"] {
            stage.say(ALICE, body).await;
        }
        stage.set("m.room.topic", json!({ "topic": "T" })).await;
        let short = || listed(config(2, &["m.room.create/"], false));
        let first = ask(&stage, ALICE, short()).await;
        assert_eq!(bodies(inside(&stage, &first)), ["c", "m.room.topic"]);

        let long = || listed(config(4, &["m.room.create/"], false));
        let longer = ask(&stage, ALICE, after(&first, long())).await;
        let room = inside(&stage, &longer);
        assert_eq!(bodies(room), ["a", "b", "c", "m.room.topic"]);
        assert!(room.expanded_timeline && room.limited && state(room).is_empty());
        assert_eq!(room.num_live, 0);
        let same = ask(&stage, ALICE, after(&longer, short())).await;
        let same = ask(&stage, ALICE, after(&same, long())).await;
        assert!(same.rooms.is_empty(), "the client has these");

        let more = listed(config(4, &["m.room.create/", "m.room.topic/", "m.room.name/"], false));
        let stated = ask(&stage, ALICE, after(&same, more.clone())).await;
        let room = inside(&stage, &stated);
        assert_eq!((bodies(room), state(room)), (vec![], vec!["m.room.topic/".to_owned()]));
        let same = ask(&stage, ALICE, after(&stated, more.clone())).await;
        assert!(same.rooms.is_empty());
        let all = listed(config(4, &["*"], false));
        let all = ask(&stage, ALICE, after(&same, all)).await;
        let state = state(inside(&stage, &all));
        assert!(state.contains(&format!("m.room.member/{ALICE}")), "{state:?}");
        assert!(!state.contains(&"m.room.topic/".to_owned()), "{state:?}");
    })
    .await;
}

#[tokio::test]
async fn members_come_when_they_are_needed() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        stage.say(BOB, "hi").await;
        let lazy = |limit| listed(config(limit, &["m.room.create/"], true));
        let first = ask(&stage, ALICE, lazy(1)).await;
        let bob = format!("m.room.member/{BOB}");
        assert_eq!(state(inside(&stage, &first)), ["m.room.create/".to_owned(), bob.clone()]);
        stage.say(BOB, "again").await;
        let news = ask(&stage, ALICE, after(&first, lazy(1))).await;
        assert!(state(inside(&stage, &news)).is_empty(), "who is known is not sent again");
        stage.say(ALICE, "x").await;
        let news = ask(&stage, ALICE, after(&news, lazy(1))).await;
        assert_eq!(state(inside(&stage, &news)), [format!("m.room.member/{ALICE}")]);
        // Who has a gap asks for members again.
        stage.say(ALICE, "lost").await;
        stage.say(BOB, "seen").await;
        let gap = ask(&stage, ALICE, after(&news, lazy(1))).await;
        assert_eq!(state(inside(&stage, &gap)), [bob.as_str()]);
        // Without a gap every change of a member is told.
        stage.member(BOB, BOB, "leave").await;
        let left = ask(&stage, ALICE, after(&gap, lazy(1))).await;
        let room = inside(&stage, &left);
        assert_eq!((state(room), room.joined_count), (vec![bob], Some(1)));
    })
    .await;
}

#[tokio::test]
async fn a_room_out_of_sight_is_told_from_where_it_was_left() {
    on_stage(async |mut stage| {
        let room_id = stage.room.room_id.to_string();
        let wanted = || config(5, &["m.room.topic/"], false);
        let subscribed = |on: bool| {
            let rooms = [(room_id.clone(), wanted())].into_iter().filter(|_| on).collect();
            Request { subscriptions: rooms, ..Request::default() }
        };
        let unknown = Request {
            subscriptions: BTreeMap::from([("!no:a.org".to_owned(), wanted())]),
            ..Request::default()
        };
        assert!(ask(&stage, ALICE, unknown).await.rooms.is_empty());
        let answer = ask(&stage, ALICE, subscribed(true)).await;
        assert!(answer.rooms[&room_id].initial && answer.rooms[&room_id].lists.is_empty());
        stage.say(ALICE, "unseen").await;
        stage.set("m.room.topic", json!({ "topic": "T" })).await;
        let answer = ask(&stage, ALICE, after(&answer, subscribed(false))).await;
        assert!(answer.rooms.is_empty());
        let answer = ask(&stage, ALICE, after(&answer, subscribed(false))).await;
        stage.say(ALICE, "seen").await;
        let answer = ask(&stage, ALICE, after(&answer, subscribed(true))).await;
        let room = inside(&stage, &answer);
        assert_eq!(bodies(room), ["unseen", "m.room.topic", "seen"]);
        assert_eq!((state(room), room.num_live), (vec!["m.room.topic/".to_owned()], 1));
        assert!(!answer.rooms[&room_id].initial && !room.limited);
    })
    .await;
}
