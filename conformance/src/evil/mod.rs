//! A federation peer that does what a test tells it: an honest server by default, a malicious one by
//! script.
//!
//! It speaks the server-server API over TLS on loopback, has a signing key of its own, and shares no
//! code with Starling. [`Peer::start`] gives one; [`Peer::join`] takes one of its users into a room
//! of the server under test, [`Peer::create_room`] makes a room of its own, into which users of that
//! server come by invitation or join. A [`Room`] writes events that fit in: a test changes such a
//! draft, has it sealed ([`Peer::seal`]: hashed, signed and named by the rules of the room version)
//! or tampers with the sealed [`Event`], and delivers it by [`Peer::send`]. [`raw`] puts text into an
//! event that no JSON value can hold.
//!
//! Whatever other servers ask it is answered from its rooms, unless a script ([`Peer::script`],
//! [`Peer::answer`]) knows better. All requests that it receives can be looked at
//! ([`Peer::received`]).

mod event;
mod join;
mod json;
mod key;
mod listen;
mod peer;
mod policy;
mod room;
mod script;
mod serve;

pub use event::Event;
pub(crate) use event::verify;
pub use join::{invite_state, power_levels, room_id};
pub use json::{raw, render};
pub use key::Key;
pub use peer::Peer;
pub use room::{Room, now, references};
pub use script::{Received, Reply};
