//! `/rtc`: calls of many.

pub(crate) mod transports;
