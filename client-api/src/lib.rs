//! The client-server API of a Starling homeserver.
