//! `/_matrix/client/v3/users/...`

mod report;
