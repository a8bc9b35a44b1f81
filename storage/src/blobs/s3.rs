//! A bucket of an S3-compatible service, and addresses in it for those who may read one thing there.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as Name,
    signer::{Method, SignedUrlOptions, Signer as _},
};

use super::BlobError;

/// How often, and for how long, a request is repeated that failed by no fault of its own. Somebody
/// waits for the answer.
const MOST_RETRIES: usize = 3;
const RETRIES_TIME: Duration = Duration::from_secs(10);

/// How long the service may be silent. There is no limit for a whole answer: it is read as slowly as the
/// one who wants the file reads.
const SILENCE: Duration = Duration::from_secs(60);

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(5);

/// How long an address in the bucket can be used. A download that has begun goes on after it.
const ADDRESS_TIME: Duration = Duration::from_secs(5 * 60);

/// How an S3-compatible service is reached.
#[derive(Clone, Debug)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// The region.
    pub region: String,
    /// The address, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// The id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Whether others are to fetch from the bucket themselves.
    pub redirect: bool,
}

/// What the service is to say of bytes when it sends them to others itself.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Content-Disposition`.
    pub disposition: &'a str,
    /// `Cache-Control`.
    pub cache_control: &'a str,
}

pub(super) fn open(settings: S3) -> Result<Arc<AmazonS3>, BlobError> {
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: MOST_RETRIES,
        retry_timeout: RETRIES_TIME,
    };
    let mut client = ClientOptions::new()
        .with_timeout_disabled()
        .with_read_timeout(SILENCE)
        .with_connect_timeout(CONNECTING);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(settings.bucket)
        .with_region(settings.region)
        .with_access_key_id(settings.access_key_id)
        .with_secret_access_key(settings.secret_access_key)
        .with_retry(retry);
    if let Some(endpoint) = settings.endpoint {
        client = client.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(endpoint);
    }
    Ok(Arc::new(builder.with_client_options(client).build()?))
}

/// An address at which anybody can get what has that name, for a while.
pub(super) async fn address(
    store: &AmazonS3,
    name: &Name,
    shown: Shown<'_>,
) -> Result<String, BlobError> {
    let options = SignedUrlOptions::new().with_query([
        ("response-cache-control", shown.cache_control),
        ("response-content-disposition", shown.disposition),
        ("response-content-type", shown.content_type),
    ]);
    let signed = store.signed_url_opts(Method::GET, name, ADDRESS_TIME, &options).await?;
    Ok(signed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_signed_with_what_is_to_be_shown() {
        let settings = S3 {
            bucket: "files".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: Some("https://s3.example.org".to_owned()),
            access_key_id: "key".to_owned(),
            secret_access_key: "secret".to_owned(),
            redirect: true,
        };
        let store = open(settings).unwrap();
        let shown = Shown {
            content_type: "text/plain",
            disposition: "inline; filename=\"a b\"",
            cache_control: "private",
        };
        let address = address(&store, &Name::from("ab/cd/abcd"), shown).await.unwrap();
        assert!(address.starts_with("https://s3.example.org/files/ab/cd/abcd?"), "{address}");
        for part in [
            "X-Amz-Signature=",
            "X-Amz-Expires=300",
            "response-content-type=text%2Fplain",
            "response-cache-control=private",
        ] {
            assert!(address.contains(part), "{address}");
        }
        assert!(!address.contains("secret"), "{address}");
    }
}
