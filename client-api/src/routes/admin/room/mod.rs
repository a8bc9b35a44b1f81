//! `/_synapse/admin/v1/room/…`

pub(crate) mod media;
