//! The server-server API, spoken to by a peer that lies where a test says so.

mod send;
