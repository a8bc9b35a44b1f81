//! The `media` section.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_engine::config;

use super::types::{self, Memory, Secret};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The `media` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Media {
    /// The directory for the files that users upload and fetch, unless they are in a bucket. Without one,
    /// `media` in the data directory.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) directory: Option<PathBuf>,

    /// How large a file may be that a user uploads, such as `50 MiB`. A proxy in front must allow it too.
    #[schemars(with = "String")]
    pub(crate) max_upload: Memory,

    /// How large a file of another server may be to be fetched.
    #[schemars(with = "String")]
    pub(crate) max_remote: Memory,

    /// How much one user may upload altogether. `0 MiB`: as much as they like.
    #[schemars(with = "String")]
    pub(crate) quota_per_user: Memory,

    /// How much of other servers' files is kept; those that nobody wanted for longest go first. `0 MiB`:
    /// all.
    #[schemars(with = "String")]
    pub(crate) remote_cache: Memory,

    /// Days for which files of other servers are kept after somebody wanted them. 0: for ever.
    pub(crate) remote_days: u32,

    /// Whether files that are uploaded or fetched from now on can be had by those only who are logged in.
    /// Off for clients and bridges that do not know the addresses of specification v1.11 yet.
    pub(crate) freeze_legacy: bool,

    /// Whether users are shown what a web page is about whose address is in a message. This server fetches
    /// the page then.
    pub(crate) url_previews: bool,

    /// Whether web pages, and what other servers' files lead to, may have addresses in private networks.
    ///
    /// The addresses are chosen by strangers: leave this off.
    pub(crate) allow_private_addresses: bool,

    /// A bucket for the files, instead of a directory.
    pub(crate) s3: S3,
}

/// The `media.s3` section.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct S3 {
    /// The bucket, of Amazon S3 or of a service like it. Files that are in the directory are not moved.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) bucket: Option<String>,

    /// The region.
    pub(crate) region: String,

    /// The address of a service that is not Amazon's: `https://s3.example.org`.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) endpoint: Option<String>,

    /// The id of the access key.
    pub(crate) access_key_id: String,

    /// The secret of the access key.
    pub(crate) secret_access_key: Secret,

    /// Whether clients and other servers are led to the bucket to fetch files there themselves, by
    /// addresses that can be used for five minutes. They must be able to reach it, and its rules must
    /// let web pages of all origins read (CORS). Off: this server passes the bytes on.
    pub(crate) redirect: bool,
}

impl Media {
    /// The settings, as the engine wants them.
    pub(crate) fn settings(&self) -> config::Media {
        let unless_zero = |size: Memory| Some(size.bytes()).filter(|bytes| *bytes > 0);
        config::Media {
            largest_upload: self.max_upload.bytes(),
            largest_remote: self.max_remote.bytes(),
            quota_per_user: unless_zero(self.quota_per_user),
            freeze_legacy: self.freeze_legacy,
            most_remote: unless_zero(self.remote_cache),
            remote_lifetime_ms: (self.remote_days > 0)
                .then(|| i64::from(self.remote_days) * DAY_MS),
            url_previews: self.url_previews,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            directory: None,
            max_upload: Memory::mib(50),
            max_remote: Memory::mib(100),
            quota_per_user: Memory::mib(0),
            remote_cache: Memory::mib(10 * 1024),
            remote_days: 90,
            freeze_legacy: true,
            url_previews: true,
            allow_private_addresses: false,
            s3: S3::default(),
        }
    }
}
