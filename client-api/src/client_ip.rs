//! The address of the client behind a request.

use std::net::IpAddr;

/// The request's origin, after trusted proxies. The program's listeners put it into each request's
/// extensions; rate limits and device records read it from there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientIp(pub IpAddr);
