//! Who is told of which rooms.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::{after, ask, bodies, config, inside, listed, set_data, state};
use crate::{
    reading::stage::{ALICE, BOB, on_stage},
    sync::sliding::request::{Filters, List, Request},
};

#[tokio::test]
async fn leaving_is_told_to_who_had_the_room_and_being_removed_to_everybody() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let request = || listed(config(3, &["m.room.create/"], false));
        let another = || Request { conn_id: "another".to_owned(), ..request() };
        let had = ask(&stage, BOB, request()).await;
        stage.member(BOB, BOB, "leave").await;
        stage.say(ALICE, "not for him").await;
        let told = ask(&stage, BOB, after(&had, request())).await;
        let room = &told.rooms[stage.room.room_id.as_str()];
        assert_eq!((room.membership.as_str(), room.initial), ("leave", false));
        assert_eq!(bodies(inside(&stage, &told)), ["m.room.member"]);
        assert!(ask(&stage, BOB, after(&told, request())).await.rooms.is_empty());
        let new = ask(&stage, BOB, another()).await;
        assert_eq!((new.rooms.len(), new.lists["all"]), (0, 0), "he knows that he left");

        stage.member(BOB, BOB, "join").await;
        let back = ask(&stage, BOB, after(&told, request())).await;
        assert!(back.rooms[stage.room.room_id.as_str()].initial, "it begins anew");
        stage.member(ALICE, BOB, "ban").await;
        stage.say(ALICE, "nor this").await;
        let new = ask(&stage, BOB, another()).await;
        let room = &new.rooms[stage.room.room_id.as_str()];
        assert_eq!((room.membership.as_str(), room.initial), ("ban", true));
        let room = inside(&stage, &new);
        assert!(!bodies(room).contains(&"nor this".to_owned()), "{:?}", bodies(room));
        assert_eq!(state(room), ["m.room.create/"]);
        assert!(ask(&stage, BOB, after(&new, another())).await.rooms.is_empty());
    })
    .await;
}

#[tokio::test]
async fn invites_are_stripped_and_their_end_is_told_to_who_had_them() {
    on_stage(async |mut stage| {
        let room_id = stage.room.room_id.to_string();
        let request = |is_invited| {
            let filters = Filters { is_invited, ..Filters::default() };
            let config = config(3, &["*"], false);
            let list = List { config, filters, ..List::default() };
            Request { lists: BTreeMap::from([("all".to_owned(), list)]), ..Request::default() }
        };
        stage.member(ALICE, BOB, "invite").await;
        let invited = ask(&stage, BOB, request(None)).await;
        let room = &invited.rooms[&room_id];
        assert!(room.initial && room.inside.is_none() && room.stripped_state.is_some());
        assert_eq!(ask(&stage, BOB, request(Some(true))).await.lists["all"], 1);
        assert_eq!(ask(&stage, BOB, request(Some(false))).await.lists["all"], 0);
        let again = ask(&stage, BOB, request(None)).await;
        let quiet = ask(&stage, BOB, after(&again, request(None))).await;
        assert!(quiet.rooms.is_empty());

        stage.member(ALICE, BOB, "leave").await;
        let ended = ask(&stage, BOB, after(&quiet, request(None))).await;
        let room = &ended.rooms[&room_id];
        assert_eq!((room.membership.as_str(), room.initial), ("leave", true));
        assert_eq!(state(inside(&stage, &ended)), [format!("m.room.member/{BOB}")]);
        let new = ask(&stage, BOB, request(None)).await;
        assert!(new.rooms.is_empty() && new.lists["all"] == 0, "he was never inside");
        stage.member(ALICE, BOB, "ban").await;
        let new = ask(&stage, BOB, request(None)).await;
        assert!(new.rooms.is_empty() && new.lists["all"] == 0, "nor is he now");

        let subscribed = Request {
            subscriptions: BTreeMap::from([(room_id, config(3, &["*"], false))]),
            ..Request::default()
        };
        assert!(ask(&stage, BOB, subscribed).await.rooms.is_empty());
    })
    .await;
}

#[tokio::test]
async fn who_is_ignored_says_nothing_and_invites_nobody() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let ignored = json!({ "ignored_users": { (BOB): {} } });
        set_data(&stage, ALICE, "", "m.ignored_user_list", ignored).await;
        let request = || listed(config(1, &[], false));
        let first = ask(&stage, ALICE, request()).await;
        stage.say(BOB, "psst").await;
        let waiting = Request { timeout: Duration::from_millis(10), ..after(&first, request()) };
        let news = ask(&stage, ALICE, waiting).await;
        assert!(news.rooms.is_empty());
        stage.say(ALICE, "heard").await;
        let news = ask(&stage, ALICE, after(&news, request())).await;
        assert_eq!(
            (bodies(inside(&stage, &news)), inside(&stage, &news).limited),
            (vec!["heard".into()], false)
        );
    })
    .await;
}

#[tokio::test]
async fn direct_chats_are_known_by_account_data() {
    on_stage(async |stage| {
        let room_id = stage.room.room_id.to_string();
        let request = |is_dm| {
            let filters = Filters { is_dm, ..Filters::default() };
            let list = List { filters, config: config(1, &[], false), ..List::default() };
            Request { lists: BTreeMap::from([("all".to_owned(), list)]), ..Request::default() }
        };
        let first = ask(&stage, ALICE, request(None)).await;
        assert_eq!(ask(&stage, ALICE, request(Some(true))).await.lists["all"], 0);
        let again = ask(&stage, ALICE, request(None)).await;
        drop(first);
        set_data(&stage, ALICE, "", "m.direct", json!({ (BOB): [room_id] })).await;
        let news = ask(&stage, ALICE, after(&again, request(None))).await;
        assert_eq!(inside(&stage, &news).is_dm, Some(true));
        assert!(ask(&stage, ALICE, after(&news, request(None))).await.rooms.is_empty());
        assert_eq!(ask(&stage, ALICE, request(Some(true))).await.lists["all"], 1);
    })
    .await;
}
