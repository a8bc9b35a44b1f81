//! `/_synapse/admin`: what scripts of administrators call.

pub(crate) mod register;
