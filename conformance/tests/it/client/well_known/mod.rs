//! What is announced to whoever knows only the server name.

mod server;
