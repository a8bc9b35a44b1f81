//! `/admin`.

mod lock;
mod suspend;
mod whois;
