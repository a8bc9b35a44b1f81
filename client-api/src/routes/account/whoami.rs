//! GET /_matrix/client/v3/account/whoami

use ruma::api::client::account::whoami::v3::Response;

use crate::{
    answer::{Answer, answer},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let is_guest = session.is_guest();
    let device = session.device().map(ToOwned::to_owned);
    let mut response = Response::new(session.user_id, is_guest);
    response.device_id = device;
    answer(response)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use crate::testing::TestDoor;

    #[tokio::test]
    async fn tells_whose_token_it_is() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let answer = door.get("/_matrix/client/v3/account/whoami", &alice).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body["user_id"], "@alice:test");
        assert_eq!(answer.body["device_id"], alice.device_id.as_str());
    }

    #[tokio::test]
    async fn wants_a_token_that_is_known() {
        let door = TestDoor::new().await;
        let path = "/_matrix/client/v3/account/whoami";
        door.get_anonymous(path).await.refused(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN");
        for query in ["?access_token=", "?access_token=x"] {
            let answer = door.get_anonymous(&format!("{path}{query}")).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        }
    }
}
