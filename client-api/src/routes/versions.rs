//! GET /_matrix/client/versions

use ruma::api::client::discovery::get_supported_versions::Response;

use crate::{
    answer::{Answer, answer},
    call::Call,
};

/// The newest minor version of the specification's major version 1.
const NEWEST_MINOR: u8 = 19;

/// What works here beside the specification, or under names from before it was specified.
const UNSTABLE: [&str; 17] = [
    "org.matrix.msc2285.stable",
    "org.matrix.msc3391",
    "org.matrix.msc3440.stable",
    "org.matrix.msc3771",
    "org.matrix.msc3773",
    "org.matrix.msc3827.stable",
    "org.matrix.msc3874",
    "org.matrix.msc3881",
    "org.matrix.msc3912",
    "org.matrix.msc3981",
    "org.matrix.msc4155",
    "org.matrix.msc4380.stable",
    "org.matrix.simplified_msc3575",
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
];

pub(crate) async fn get(call: Call) -> Answer {
    let stable = (1..=NEWEST_MINOR).map(|minor| format!("v1.{minor}"));
    let versions = ["r0.5.0", "r0.6.0", "r0.6.1"].map(ToOwned::to_owned).into_iter().chain(stable);
    let mut response = Response::new(versions.collect());
    response.unstable_features = UNSTABLE.map(|name| (name.to_owned(), true)).into();
    let delayed_events = call.engine.config.delayed_events.enabled;
    response.unstable_features.insert("org.matrix.msc4140".to_owned(), delayed_events);
    let rtc = !call.door.settings.rtc_transports.is_empty();
    response.unstable_features.insert("org.matrix.msc4143".to_owned(), rtc);
    let follow_threads = call.engine.config.push.follow_threads;
    response.unstable_features.insert("org.matrix.msc4306".to_owned(), follow_threads);
    answer(response)
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
