//! Black-box suites, interoperation with other servers and clients, benches and fault commands.
