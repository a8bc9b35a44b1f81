//! Who finds whom, on each database.

use std::sync::Arc;

use ruma::{OwnedUserId, UserId};
use serde_json::json;
use starling_storage::{
    Change,
    user_directory::{self as rows, Place, Subject},
};

use super::{follow, search};
use crate::{
    Config, Engine,
    accounts::profiles,
    config::UserDirectory,
    reading::stage::{ALICE, BOB, Stage, user},
    rooms::testing::{Draft, draft},
    test_support::{config, engine_with},
    testing::NoServers,
};

const REMOTE: &str = "@carol:b.org";

async fn on_stage<F: Future<Output = ()>>(all: bool, test: impl Fn(Stage) -> F) {
    let test = &test;
    let body = async |storage| {
        let user_directory = UserDirectory { enabled: true, search_all_users: all };
        let config = Config { user_directory, ..config("a.org") };
        let engine = engine_with(storage, config, Arc::new(NoServers)).await;
        test(Stage::new(engine).await).await;
    };
    starling_storage::test_support::on_each_database(body).await.unwrap();
}

/// Makes the accounts of the stage's users, who have none there.
async fn accounts(engine: &Engine, localparts: &[&str]) -> Vec<OwnedUserId> {
    let mut users = vec![];
    for localpart in localparts {
        let id = user(&format!("@{localpart}:a.org"));
        let mut change = Change::new();
        change.claim(starling_storage::Claim::NewUser(starling_storage::accounts::UserRow {
            user_id: id.to_string(),
            ..starling_storage::accounts::UserRow::default()
        }));
        follow::name(&mut change, &id, None);
        engine.storage.commit(change).await.unwrap();
        users.push(id);
    }
    users
}

async fn named(engine: &Engine, id: &UserId, name: &str) {
    profiles::set_field(engine, id, "displayname", json!(name)).await.unwrap();
}

async fn found(stage: &Stage, asker: &str, term: &str) -> Vec<String> {
    let found = search::search(&stage.engine, &user(asker), term, None).await.unwrap();
    let label = |user: &search::User| match &user.display_name {
        Some(name) => format!("{} {name}", user.user_id),
        None => user.user_id.to_string(),
    };
    found.results.iter().map(label).collect()
}

fn member(id: &str, name: &str) -> Draft {
    draft("m.room.member", id, id, json!({ "membership": "join", "displayname": name }))
}

async fn set_rule(stage: &mut Stage, rule: &str) {
    stage.set("m.room.join_rules", json!({ "join_rule": rule })).await;
}

#[tokio::test]
async fn local_users_are_found_by_their_profile_where_they_can_be_seen() {
    on_stage(false, |mut stage| async move {
        let users = accounts(&stage.engine, &["alice", "bob", "dave"]).await;
        named(&stage.engine, &users[0], "Alice Cooper").await;
        // A stranger sees her because the room is public.
        assert_eq!(found(&stage, "@dave:a.org", "coop").await, ["@alice:a.org Alice Cooper"]);
        assert_eq!(found(&stage, "@dave:a.org", "@alice:a").await, ["@alice:a.org Alice Cooper"]);
        assert_eq!(found(&stage, "@dave:a.org", "bob").await, [""; 0], "in no room");
        assert_eq!(found(&stage, "@dave:a.org", "dave").await, [""; 0], "oneself");
        // Her name in the room is not what she is found by.
        stage.send(member(ALICE, "Freddy")).await;
        assert_eq!(found(&stage, "@dave:a.org", "freddy").await, [""; 0]);
        stage.member(BOB, BOB, "join").await;
        set_rule(&mut stage, "invite").await;
        assert_eq!(found(&stage, "@dave:a.org", "alice").await, [""; 0]);
        assert_eq!(found(&stage, BOB, "alice").await, ["@alice:a.org Alice Cooper"]);
        assert_eq!(found(&stage, BOB, "freddy").await, [""; 0]);
        let world = json!({ "history_visibility": "world_readable" });
        stage.set("m.room.history_visibility", world).await;
        assert_eq!(found(&stage, "@dave:a.org", "alice").await, ["@alice:a.org Alice Cooper"]);
    })
    .await;
}

#[tokio::test]
async fn names_and_accounts_that_go_are_found_no_more() {
    on_stage(false, |stage| async move {
        let users = accounts(&stage.engine, &["alice", "dave"]).await;
        named(&stage.engine, &users[0], "Cooper").await;
        named(&stage.engine, &users[0], "Miller").await;
        assert_eq!(found(&stage, "@dave:a.org", "cooper").await, [""; 0]);
        assert_eq!(found(&stage, "@dave:a.org", "mill").await, ["@alice:a.org Miller"]);
        profiles::remove_field(&stage.engine, &users[0], "displayname").await.unwrap();
        assert_eq!(found(&stage, "@dave:a.org", "alice").await, ["@alice:a.org"]);
        assert_eq!(found(&stage, "@dave:a.org", "miller").await, [""; 0]);
        let mut change = Change::new();
        let gone =
            starling_storage::accounts::Write::Deactivate { user_id: users[0].to_string(), ts: 1 };
        change.write(gone);
        stage.engine.storage.commit(change).await.unwrap();
        assert_eq!(found(&stage, "@dave:a.org", "alice").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn users_of_other_servers_are_found_by_the_names_that_one_can_see() {
    on_stage(false, |mut stage| async move {
        accounts(&stage.engine, &["alice", "bob", "dave"]).await;
        stage.send(member(REMOTE, "Carol 田中")).await;
        assert_eq!(found(&stage, "@dave:a.org", "田中").await, ["@carol:b.org Carol 田中"]);
        assert_eq!(found(&stage, "@dave:a.org", "@carol:b").await, ["@carol:b.org Carol 田中"]);
        stage.send(member(REMOTE, "Caroline")).await;
        assert_eq!(found(&stage, ALICE, "田").await, [""; 0]);
        set_rule(&mut stage, "invite").await;
        assert_eq!(found(&stage, ALICE, "caroli").await, ["@carol:b.org Caroline"]);
        assert_eq!(found(&stage, "@dave:a.org", "carol").await, [""; 0]);
        stage.member(REMOTE, REMOTE, "leave").await;
        assert_eq!(found(&stage, ALICE, "carol").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn everybody_is_found_where_the_server_wants_it() {
    on_stage(true, |stage| async move {
        accounts(&stage.engine, &["alice", "bob", "bonnie", "dave"]).await;
        assert_eq!(found(&stage, "@dave:a.org", "bo").await, ["@bob:a.org", "@bonnie:a.org"]);
        let two = search::search(&stage.engine, &user("@dave:a.org"), "bo", Some(1)).await.unwrap();
        assert_eq!((two.results.len(), two.limited), (1, true));
        let none = search::search(&stage.engine, &user("@dave:a.org"), "", None).await.unwrap();
        assert_eq!((none.results.len(), none.limited), (0, false));
        let long = "x".repeat(100_000);
        assert_eq!(found(&stage, "@dave:a.org", &long).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn what_was_there_before_the_directory_is_taken_in() {
    on_stage(false, |mut stage| async move {
        let users = accounts(&stage.engine, &["alice", "dave"]).await;
        named(&stage.engine, &users[0], "Cooper").await;
        stage.send(member(REMOTE, "Carol")).await;
        follow::catch_up(&stage.engine).await.unwrap();
        // As if the tables had been made now.
        let mut change = Change::new();
        for id in [users[0].as_str(), REMOTE] {
            change.write(rows::Write::Words { user_id: id.to_owned(), words: vec![] });
        }
        let room_id = stage.room.room_id.to_string();
        change.write(rows::Write::Room { room_id, open: false });
        for subject in [Subject::Memberships, Subject::Accounts, Subject::Rooms] {
            change.write(rows::Write::Progress { subject, place: Place::default() });
        }
        stage.engine.storage.commit(change).await.unwrap();
        assert_eq!(found(&stage, "@dave:a.org", "co").await, [""; 0]);
        follow::start_again(&stage.engine).await;
        follow::all(&stage.engine).await.unwrap();
        assert_eq!(found(&stage, "@dave:a.org", "coop").await, ["@alice:a.org Cooper"]);
        assert_eq!(found(&stage, "@dave:a.org", "carol").await, ["@carol:b.org Carol"]);
    })
    .await;
}

#[tokio::test]
async fn a_room_that_nobody_of_this_server_is_in_shows_nobody() {
    on_stage(false, |mut stage| async move {
        accounts(&stage.engine, &["alice", "dave"]).await;
        stage.send(member(REMOTE, "Carol")).await;
        assert_eq!(found(&stage, "@dave:a.org", "carol").await, ["@carol:b.org Carol"]);
        stage.member(ALICE, ALICE, "leave").await;
        assert_eq!(found(&stage, "@dave:a.org", "carol").await, [""; 0]);
    })
    .await;
}
