//! `/rtc`: calls of many.

mod transports;
