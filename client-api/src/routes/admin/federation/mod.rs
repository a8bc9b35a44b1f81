//! `/_synapse/admin/v1/federation/…`

pub(crate) mod destinations;
