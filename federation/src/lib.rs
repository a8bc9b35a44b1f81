//! The server-server API of a Starling homeserver, as server and as client.
