//! The room versions that this server takes part in.
//!
//! What differs between them are flags of [`RoomVersionRules`]; nothing else asks for a version.
//!
//! <https://spec.matrix.org/v1.19/rooms/>

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

/// The supported room versions, all of them stable.
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

/// The version of a new room when the client does not ask for one.
pub const DEFAULT: RoomVersionId = RoomVersionId::V12;

/// The rules of a supported room version; `None` when it is not supported.
#[must_use]
pub fn rules(version: &RoomVersionId) -> Option<RoomVersionRules> {
    SUPPORTED.contains(version).then(|| version.rules()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_version_has_rules_and_no_other() {
        assert!(SUPPORTED.iter().all(|version| rules(version).is_some()));
        let unknown = RoomVersionId::try_from("org.example.unknown").unwrap();
        assert!(rules(&unknown).is_none());
        assert!(SUPPORTED.contains(&DEFAULT));
    }
}
