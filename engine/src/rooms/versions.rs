//! The room versions that this server takes part in.
//!
//! What differs between them are flags of [`RoomVersionRules`]; nothing else asks for a version.
//!
//! <https://spec.matrix.org/v1.19/rooms/>

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

/// The supported room versions that are stable.
pub const SUPPORTED: [RoomVersionId; 12] = [
    RoomVersionId::V1,
    RoomVersionId::V2,
    RoomVersionId::V3,
    RoomVersionId::V4,
    RoomVersionId::V5,
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// The supported room versions that are not: those with state that belongs to users
/// ([`super::owned_state`]), otherwise like 10 and 11.
pub const UNSTABLE: [&str; 2] = ["org.matrix.msc3757.10", "org.matrix.msc3757.11"];

/// The version of a new room when the client does not ask for one.
pub const DEFAULT: RoomVersionId = RoomVersionId::V12;

/// The rules of a supported room version; `None` when it is not supported.
#[must_use]
pub fn rules(version: &RoomVersionId) -> Option<RoomVersionRules> {
    match version.as_str() {
        "org.matrix.msc3757.10" => Some(RoomVersionRules::V10),
        "org.matrix.msc3757.11" => Some(RoomVersionRules::V11),
        _ => SUPPORTED.contains(version).then(|| version.rules()).flatten(),
    }
}

/// The names of all supported room versions.
pub fn names() -> impl Iterator<Item = &'static str> {
    SUPPORTED.iter().map(RoomVersionId::as_str).chain(UNSTABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_version_has_rules_and_no_other() {
        let known = |name| rules(&RoomVersionId::try_from(name).unwrap()).is_some();
        assert!(names().all(known));
        let unknown = RoomVersionId::try_from("org.example.unknown").unwrap();
        assert!(rules(&unknown).is_none());
        assert!(SUPPORTED.contains(&DEFAULT));
    }
}
