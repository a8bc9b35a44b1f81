//! `/directory`.

mod list;
mod room;
