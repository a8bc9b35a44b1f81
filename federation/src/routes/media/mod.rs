//! Files for other servers.

pub(crate) mod download;
pub(crate) mod thumbnail;

use starling_engine::media::MediaId;

use crate::{
    door::Door,
    error::{Error, Kind},
};

/// The file of this server that has that id.
fn own(door: &Door, id: &str) -> Result<MediaId, Error> {
    MediaId::new(door.engine.config.server_name.as_str(), id)
        .ok_or_else(|| Error::new(Kind::NotFound, "There is no such file"))
}
