//! `/admin`.

mod lock;
mod suspend;
