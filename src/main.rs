//! The Starling homeserver.

fn main() {}
