//! Where connections begin and end.

use starling_storage::{Change, sliding as rows};

use super::{after, ask, config, listed, try_ask};
use crate::{
    reading::{
        access::Asking,
        stage::{ALICE, BOB, on_stage, user},
    },
    sync::sliding::{self, Answer, Request, SlidingError, connection::MOST_CONNECTIONS},
};

#[tokio::test]
async fn only_its_own_device_continues_a_connection_and_an_old_place_is_forgotten() {
    on_stage(async |mut stage| {
        stage.member(BOB, BOB, "join").await;
        let request = || listed(config(1, &[], false));
        let unknown = |result: Result<Answer, SlidingError>| {
            assert!(matches!(result, Err(SlidingError::UnknownPos)));
        };
        let first = ask(&stage, ALICE, request()).await;
        unknown(try_ask(&stage, BOB, after(&first, request())).await);
        let other = Request { conn_id: "other".to_owned(), ..after(&first, request()) };
        unknown(try_ask(&stage, ALICE, other).await);
        let alice = user(ALICE);
        let device = Asking { user_id: &alice, device_id: Some("OTHER".into()) };
        unknown(sliding::sync(&stage.engine, device, &after(&first, request())).await);

        // Each state has a successor as the client wants more; only the last answers may be repeated.
        let mut answers = vec![first];
        for limit in 2..5 {
            let wanted = listed(config(limit, &[], false));
            answers.push(ask(&stage, ALICE, after(&answers[answers.len() - 1], wanted)).await);
        }
        unknown(try_ask(&stage, ALICE, after(&answers[0], request())).await);
        ask(&stage, ALICE, after(&answers[2], request())).await;
        ask(&stage, ALICE, after(&answers[3], request())).await;

        // The connection begins anew, and what was before it is over.
        ask(&stage, ALICE, request()).await;
        unknown(try_ask(&stage, ALICE, after(&answers[3], request())).await);
    })
    .await;
}

#[tokio::test]
async fn connections_have_a_bound_and_an_end() {
    on_stage(async |stage| {
        let request =
            |number: i64| Request { conn_id: number.to_string(), ..listed(config(1, &[], false)) };
        let mut answers = vec![];
        for number in 0..=MOST_CONNECTIONS {
            answers.push(ask(&stage, ALICE, request(number)).await);
        }
        let mut known = 0;
        for (answer, number) in answers.iter().zip(0..) {
            known +=
                i64::from(try_ask(&stage, ALICE, after(answer, request(number))).await.is_ok());
        }
        assert_eq!(known, MOST_CONNECTIONS);
        let mut change = Change::new();
        change.write(rows::Write::Expire { before: i64::MAX });
        stage.engine.storage.commit(change).await.unwrap();
        for (answer, number) in answers.iter().zip(0..) {
            assert!(try_ask(&stage, ALICE, after(answer, request(number))).await.is_err());
        }
    })
    .await;
}
