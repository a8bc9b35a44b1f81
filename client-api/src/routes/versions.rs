//! GET /_matrix/client/versions

use ruma::api::client::discovery::get_supported_versions::Response;

use crate::{
    answer::{Answer, answer},
    call::Call,
};

/// The newest minor version of the specification's major version 1.
const NEWEST_MINOR: u8 = 19;

pub(crate) async fn get(_call: Call) -> Answer {
    let stable = (1..=NEWEST_MINOR).map(|minor| format!("v1.{minor}"));
    let versions = ["r0.5.0", "r0.6.0", "r0.6.1"].map(ToOwned::to_owned).into_iter().chain(stable);
    answer(Response::new(versions.collect()))
}

#[cfg(test)]
mod tests {
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn names_versions_to_anybody() {
        let door = TestDoor::new().await;
        let answer = door.get_anonymous("/_matrix/client/versions").await;
        let versions = answer.body["versions"].as_array().unwrap();
        for version in ["v1.1", "v1.11", "v1.19"] {
            assert!(versions.iter().any(|v| v == version), "{version}");
        }
    }
}
