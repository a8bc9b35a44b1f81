//! HTTP as both doors need it: listeners, and what wraps every request.

mod client_ip;
mod connection;
mod health;
mod listen;
mod observe;

pub(crate) use self::{
    health::{Readiness, health},
    listen::{Listener, Server},
};
