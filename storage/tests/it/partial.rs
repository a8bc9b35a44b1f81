//! Rooms of which only a part of the state is known.

use starling_storage::{
    Change, Fact,
    events::{self, EventRow, flags},
    rooms::{
        self, RoomUpdate, ServerUpdate,
        partial::{self, PartialRow, Write},
    },
};

use crate::{event_row, new_room, on_each};

fn row() -> PartialRow {
    PartialRow {
        room_id: "!r".to_owned(),
        join_event_id: "$join".to_owned(),
        resident_servers: r#"["a.org","b.org"]"#.to_owned(),
        device_list_pos: 7,
    }
}

fn update(flags: i16) -> rooms::Write {
    rooms::Write::Update(RoomUpdate {
        room_id: "!r".to_owned(),
        current_state: 0,
        flags,
        joined_members: 1,
        invited_members: 0,
        max_depth: 1,
    })
}

fn state_fact(change: &mut Change) -> starling_storage::At {
    change.fact(Fact::State { room_id: "!r".to_owned() })
}

#[tokio::test]
async fn servers_are_assumed_to_be_there_until_the_whole_state_is_known() {
    on_each(|storage| async move {
        let mut change = new_room("!r");
        let at = state_fact(&mut change);
        change.write(update(rooms::flags::PARTIAL_STATE));
        change.write(rooms::Write::Partial(Write::Begin { row: row(), at }));
        for server in ["a.org", "b.org"] {
            let (room_id, server) = ("!r".to_owned(), server.to_owned());
            change.write(rooms::Write::Partial(Write::Assume { room_id, server, at }));
        }
        let from = storage.commit(change).await.unwrap().pos(at);
        let mut conn = storage.read().await.unwrap();
        assert_eq!(partial::all(&mut conn).await.unwrap(), [row()]);
        assert!(partial::is_partial(&mut conn, "!r").await.unwrap());
        assert_eq!(rooms::servers_in(&mut conn, "!r").await.unwrap(), ["a.org", "b.org"]);
        drop(conn);

        // Somebody of one of them joins and leaves again: there may be others.
        for joined_members in [1, 0] {
            let mut change = Change::new();
            let at = state_fact(&mut change);
            let (room_id, server) = ("!r".to_owned(), "a.org".to_owned());
            let update = ServerUpdate { room_id, server, joined_members, at };
            change.write(rooms::Write::Server(update));
            storage.commit(change).await.unwrap();
        }
        let mut conn = storage.read().await.unwrap();
        assert!(partial::is_assumed(&mut conn, "!r", "a.org").await.unwrap());
        let of_room = ["!r".to_owned()];
        let known = partial::incomplete_after(&mut conn, &of_room, 0).await.unwrap();
        assert_eq!(known, [("!r".to_owned(), true)]);
        drop(conn);

        let mut change = Change::new();
        let at = state_fact(&mut change);
        change.write(update(0));
        let (room_id, server) = ("!r".to_owned(), "b.org".to_owned());
        change.write(rooms::Write::Server(ServerUpdate { room_id, server, joined_members: 2, at }));
        change.write(rooms::Write::Partial(Write::End { room_id: "!r".to_owned(), at }));
        let until = storage.commit(change).await.unwrap().pos(at);
        let mut conn = storage.read().await.unwrap();
        assert!(partial::all(&mut conn).await.unwrap().is_empty());
        assert_eq!(rooms::servers_in(&mut conn, "!r").await.unwrap(), ["b.org"]);
        assert!(!partial::is_assumed(&mut conn, "!r", "b.org").await.unwrap());
        let known = partial::incomplete_after(&mut conn, &of_room, from).await.unwrap();
        assert_eq!(known, [("!r".to_owned(), false)]);
        assert!(partial::incomplete_after(&mut conn, &of_room, until).await.unwrap().is_empty());
        for (pos, completed) in [(from - 1, None), (from, Some(until)), (until, None)] {
            assert_eq!(partial::completed_after(&mut conn, "!r", pos).await.unwrap(), completed);
        }
    })
    .await;
}

#[tokio::test]
async fn events_are_found_by_their_mark_and_lose_it() {
    on_each(|storage| async move {
        let mut change = new_room("!r");
        let marks = [("$a", 2, 8), ("$b", 1, 8 | flags::REJECTED), ("$c", 3, 0), ("$d", 2, 8)];
        for (event_id, depth, flags) in marks {
            let row = EventRow { flags, ..event_row("!r", event_id, depth) };
            change.write(events::Write::Put(Box::new(row)));
        }
        storage.commit(change).await.unwrap();
        let mut conn = storage.read().await.unwrap();
        let mut found = Vec::new();
        let mut after = (i64::MIN, String::new());
        loop {
            let page = partial::events(&mut conn, "!r", (after.0, &after.1), 1).await.unwrap();
            let Some((event_id, depth)) = page.into_iter().next() else { break };
            found.push(event_id.clone());
            after = (depth, event_id);
        }
        assert_eq!(found, ["$b", "$a", "$d"]);
        drop(conn);
        let mut change = Change::new();
        change.write(rooms::Write::Partial(Write::Unmark { room_id: "!r".to_owned() }));
        storage.commit(change).await.unwrap();
        let mut conn = storage.read().await.unwrap();
        assert!(partial::events(&mut conn, "!r", (i64::MIN, ""), 9).await.unwrap().is_empty());
        let row = events::get(&mut conn, "!r", "$b").await.unwrap().unwrap();
        assert_eq!(row.flags, flags::REJECTED);
    })
    .await;
}
