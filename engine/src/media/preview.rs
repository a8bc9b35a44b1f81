//! What a page of the web is about, for users who see its address in a message.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url>

use std::{io::Cursor, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde_json::{Map, Value};
use starling_storage::{Change, media::Write};
use url::Url;

use super::{
    MediaError, MediaId, page,
    upload::{self, Label},
};
use crate::{
    Engine,
    outside::{FetchLimits, Fetched},
    rng,
};

/// How long a page, and then its picture, may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much of a page is read, in bytes. What it says of itself stands at its beginning.
const LARGEST_PAGE: usize = 512 * 1024;

/// Bytes of a picture, at most.
const LARGEST_PICTURE: u64 = 10 * 1024 * 1024;

/// How long the language may be that a page is wanted in, in bytes.
const LONGEST_LANGUAGE: usize = 100;

/// A preview, as clients get it.
pub type Preview = Arc<Map<String, Value>>;

/// The previews at hand, by address and language.
pub(super) type Previews = moka::future::Cache<(String, String), Preview>;

/// How many previews are kept, and for how long.
pub(super) fn previews() -> Previews {
    let hour = Duration::from_secs(60 * 60);
    Previews::builder().max_capacity(2_000).time_to_live(hour).build()
}

/// What is at an address, in the language that is wanted if there is a choice.
///
/// # Errors
///
/// [`MediaError::Remote`] when nothing is there, or nothing that may be looked at.
pub async fn preview(
    engine: &Engine,
    url: &Url,
    language: Option<&str>,
) -> Result<Preview, MediaError> {
    let language = language.filter(|language| language.len() <= LONGEST_LANGUAGE);
    let mut url = url.clone();
    url.set_fragment(None);
    let key = (url.to_string(), language.unwrap_or_default().to_owned());
    let made = engine.media.previews.try_get_with(key, async {
        let made = make(engine, &url, language).await?;
        Ok::<_, MediaError>(Arc::new(made))
    });
    made.await.map_err(|error| match &*error {
        MediaError::Internal(error) => {
            MediaError::Internal(crate::Internal::Damaged(error.to_string()))
        }
        error => MediaError::Remote(error.to_string()),
    })
}

async fn make(
    engine: &Engine,
    url: &Url,
    language: Option<&str>,
) -> Result<Map<String, Value>, MediaError> {
    let fetched = fetch(engine, url, language).await?;
    let kind = content_type(&fetched);
    if kind.starts_with("image/") {
        let mut preview = Map::new();
        if let Some(picture) = keep(engine, fetched).await? {
            describe(&mut preview, picture);
        }
        return Ok(preview);
    }
    if !kind.starts_with("text/html") && !kind.starts_with("application/xhtml+xml") {
        return Ok(Map::new());
    }
    let base = fetched.url.clone();
    let bytes = beginning(fetched).await?;
    let mut properties = page::properties(&page::text(&bytes, &kind));
    properties.entry("og:url".to_owned()).or_insert_with(|| base.to_string());
    let picture = ["og:image:secure_url", "og:image", "og:image:url"];
    let picture = picture.into_iter().find_map(|name| properties.remove(name));
    properties.retain(|name, _| !name.starts_with("og:image"));
    let mut preview: Map<_, _> =
        properties.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let picture = picture.and_then(|address| base.join(&address).ok());
    if let Some(picture) = picture {
        // A page is worth seeing without its picture too.
        let fetched = fetch(engine, &picture, None).await;
        match fetched.ok().filter(|fetched| content_type(fetched).starts_with("image/")) {
            Some(fetched) => {
                if let Ok(Some(picture)) = keep(engine, fetched).await {
                    describe(&mut preview, picture);
                }
            }
            None => tracing::debug!(url = %picture, "a page has no picture where it says"),
        }
    }
    Ok(preview)
}

async fn fetch(engine: &Engine, url: &Url, language: Option<&str>) -> Result<Fetched, MediaError> {
    let language = language.map(ToOwned::to_owned);
    let limits = FetchLimits { timeout: PATIENCE, max_body: LARGEST_PICTURE, language };
    let fetched = engine.outside.fetch(url, limits).await;
    let fetched = fetched.map_err(|error| MediaError::Remote(error.to_string()))?;
    match fetched.status.is_success() {
        true => Ok(fetched),
        false => Err(MediaError::Remote(format!("it answered {}", fetched.status))),
    }
}

fn content_type(fetched: &Fetched) -> String {
    let kind = fetched.headers.get(http::header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase()
}

/// The first bytes of a page; the rest is not fetched.
async fn beginning(mut fetched: Fetched) -> Result<Vec<u8>, MediaError> {
    let mut bytes = Vec::new();
    let broken = |error: crate::outside::OutsideError| MediaError::Remote(error.to_string());
    while let Some(chunk) = fetched.body.try_next().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= LARGEST_PAGE {
            bytes.truncate(LARGEST_PAGE);
            break;
        }
    }
    Ok(bytes)
}

/// A picture that is kept here.
struct Picture {
    id: MediaId,
    content_type: String,
    size: u64,
    dimensions: Option<(u32, u32)>,
}

/// Keeps a picture like one of another server: as long as somebody wants it. `None` when it is too large,
/// or no picture.
async fn keep(engine: &Engine, mut fetched: Fetched) -> Result<Option<Picture>, MediaError> {
    let content_type = content_type(&fetched);
    let mut bytes = Vec::new();
    let broken = |error: crate::outside::OutsideError| MediaError::Remote(error.to_string());
    while let Some(chunk) = fetched.body.try_next().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
    }
    let Ok(reader) = image::ImageReader::new(Cursor::new(&bytes)).with_guessed_format() else {
        return Ok(None);
    };
    let dimensions = reader.into_dimensions().ok();
    let Some(id) = MediaId::new(engine.config.server_name.as_str(), &rng::token::<18>()) else {
        return Ok(None);
    };
    let label = Label { content_type: Some(content_type.clone()), file_name: None }.bounded();
    let now = engine.clock.now_ms();
    let size = bytes.len() as u64;
    let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(bytes))]);
    upload::store(engine, body, LARGEST_PICTURE, |stored| {
        let mut change = Change::new();
        change.write(Write::Add(starling_storage::media::MediaRow {
            authenticated: engine.config.media.freeze_legacy,
            ..upload::row(&id, stored, label, now)
        }));
        change
    })
    .await?;
    Ok(Some(Picture { id, content_type, size, dimensions }))
}

fn describe(preview: &mut Map<String, Value>, picture: Picture) {
    preview.insert("og:image".to_owned(), picture.id.to_string().into());
    preview.insert("og:image:type".to_owned(), picture.content_type.into());
    preview.insert("matrix:image:size".to_owned(), picture.size.into());
    if let Some((width, height)) = picture.dimensions {
        preview.insert("og:image:width".to_owned(), width.into());
        preview.insert("og:image:height".to_owned(), height.into());
    }
}
