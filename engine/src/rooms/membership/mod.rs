//! Coming into rooms, going out of them, and letting others in and out.
//!
//! What another server has to agree to is asked of it while no room is held.

pub mod content;
