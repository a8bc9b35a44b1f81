//! An event that is handed in, in the older forms that ruma has no types for.

use ruma::{EventId, RoomId};
use serde_json::value::RawValue;
use starling_engine::rooms::serve::submit::Submission;

use crate::error::{Error, Kind};

/// The event in the body, for the room and under the id that the path names.
pub(crate) fn submission<'a>(
    path: &'a [String],
    pdu: &'a RawValue,
) -> Result<Submission<'a>, Error> {
    let [room_id, event_id] = path else {
        return Err(Error::new(Kind::UnknownPath, "Unrecognized request"));
    };
    let bad = |error: ruma::IdParseError| Error::new(Kind::InvalidParam, error.to_string());
    Ok(Submission {
        room_id: <&RoomId>::try_from(room_id.as_str()).map_err(bad)?,
        event_id: <&EventId>::try_from(event_id.as_str()).map_err(bad)?,
        pdu,
    })
}
