//! Smaller pictures of what users upload.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#thumbnails>

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use starling_storage::{
    Change,
    blobs::ByteStream,
    media::{self as rows, ThumbnailKey, ThumbnailRow, Write},
};

use super::{
    Found, MediaError, MediaId,
    find::{self, Effort},
    picture::{self, Outcome, PictureError, Target},
    upload,
};
use crate::{Engine, Internal};

/// Bytes of a picture of which smaller ones are made, at most.
const LARGEST_PICTURE: u64 = 32 * 1024 * 1024;

/// Sizes in which whole pictures are made: a smaller box that is wanted gets the next of them.
const BOXES: [(u32, u32); 6] =
    [(32, 32), (96, 96), (320, 240), (640, 480), (800, 600), (1600, 1200)];

/// Lengths of the longer side in which cut pictures are made.
const SIDES: [u32; 11] = [32, 64, 96, 128, 256, 320, 512, 640, 800, 1024, 1600];

/// What picture is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Pixels, at least.
    pub width: u32,
    /// Pixels, at least.
    pub height: u32,
    /// Whether it is to have the form of that size.
    pub crop: bool,
    /// Whether it may move.
    pub animated: bool,
}

/// A picture.
#[derive(Debug)]
pub struct Thumbnail {
    /// SHA-256 in hexadecimal: what its bytes are called in `engine.blobs`.
    pub hash: String,
    /// What format it has.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Its bytes, if they were made just now.
    fresh: Option<Bytes>,
}

impl Thumbnail {
    /// Its bytes.
    ///
    /// # Errors
    ///
    /// When the store does not give them.
    pub async fn open(self, engine: &Engine) -> Result<ByteStream, MediaError> {
        match self.fresh {
            Some(bytes) => Ok(stream::iter([Ok(bytes)]).boxed()),
            None => Ok(engine.blobs.get(&self.hash, None).await?),
        }
    }
}

/// A picture of a file as it is wanted, or the file itself if that is small enough.
///
/// # Errors
///
/// Those of [`find::find`], and [`MediaError::NotAPicture`], [`MediaError::TooLarge`],
/// [`MediaError::RemoteTooLarge`].
pub async fn find(
    engine: &Engine,
    id: &MediaId,
    wish: Wish,
    effort: Effort,
) -> Result<Thumbnail, MediaError> {
    let file = find::find(engine, id, effort).await?;
    let outcome = of_file(engine, &file, wish).await;
    outcome.map_err(|error| match error {
        MediaError::TooLarge if id.origin() != engine.config.server_name => {
            MediaError::RemoteTooLarge
        }
        error => error,
    })
}

async fn of_file(engine: &Engine, file: &Found, wish: Wish) -> Result<Thumbnail, MediaError> {
    let target = target(wish);
    let key = key(file, target);
    if let Some(row) = rows::thumbnail(&mut engine.storage.read().await?, &key).await? {
        return Ok(Thumbnail {
            hash: row.thumbnail_hash,
            content_type: row.content_type,
            size: u64::try_from(row.size).unwrap_or_default(),
            fresh: None,
        });
    }
    if file.size > LARGEST_PICTURE {
        return Err(MediaError::TooLarge);
    }
    match shrink(engine, file, target).await? {
        Outcome::Itself(content_type) => {
            note_itself(engine, key, file, content_type).await?;
            Ok(Thumbnail {
                hash: file.hash.clone(),
                content_type: content_type.to_owned(),
                size: file.size,
                fresh: None,
            })
        }
        Outcome::Made { bytes, content_type } => {
            let bytes = Bytes::from(bytes);
            Ok(Thumbnail {
                hash: keep(engine, key, bytes.clone(), content_type).await?,
                content_type: content_type.to_owned(),
                size: bytes.len() as u64,
                fresh: Some(bytes),
            })
        }
    }
}

async fn shrink(engine: &Engine, file: &Found, target: Target) -> Result<Outcome, MediaError> {
    let place = engine.media.pictures.clone().acquire_owned().await;
    let bytes = engine.blobs.read(&file.hash).await?;
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        picture::shrink(&bytes, target)
    });
    let outcome = work.await.map_err(|error| Internal::Damaged(error.to_string()))?;
    outcome.map_err(|error| match error {
        PictureError::NotAPicture => MediaError::NotAPicture,
        PictureError::TooLarge | PictureError::NoPlace => MediaError::TooLarge,
    })
}

/// Notes that a picture stands for itself in a size, so that it is not looked at again.
async fn note_itself(
    engine: &Engine,
    key: ThumbnailKey,
    file: &Found,
    content_type: &str,
) -> Result<(), MediaError> {
    let mut change = Change::new();
    change.write(Write::Thumbnail(ThumbnailRow {
        key,
        thumbnail_hash: file.hash.clone(),
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        content_type: content_type.to_owned(),
    }));
    engine.storage.commit(change).await?;
    Ok(())
}

/// Stores a picture that was made, and returns its hash.
async fn keep(
    engine: &Engine,
    key: ThumbnailKey,
    bytes: Bytes,
    content_type: &str,
) -> Result<String, MediaError> {
    let bytes = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let stored = upload::store(engine, bytes, u64::MAX, |stored| {
        let mut change = Change::new();
        change.write(Write::Thumbnail(ThumbnailRow {
            key,
            thumbnail_hash: stored.hash.clone(),
            size: i64::try_from(stored.size).unwrap_or(i64::MAX),
            content_type: content_type.to_owned(),
        }));
        change
    })
    .await?;
    Ok(stored.hash)
}

fn key(file: &Found, target: Target) -> ThumbnailKey {
    ThumbnailKey {
        hash: file.hash.clone(),
        width: target.width.into(),
        height: target.height.into(),
        crop: target.crop,
        animated: target.animated,
    }
}

/// The next size that is made. What is wanted larger than any is wanted as it is.
fn target(wish: Wish) -> Target {
    let Wish { width, height, crop, animated } = wish;
    let size = match crop {
        true => cut_size(width, height),
        false => BOXES.into_iter().find(|(w, h)| *w >= width && *h >= height),
    };
    match size {
        Some((width, height)) => Target { width, height, crop, animated },
        None => Target { width: u32::MAX, height: u32::MAX, crop: false, animated },
    }
}

fn cut_size(width: u32, height: u32) -> Option<(u32, u32)> {
    let longer = width.max(height).max(1);
    let side = SIDES.into_iter().find(|side| *side >= longer)?;
    let stretched = |length: u32| {
        let length = (u64::from(length.max(1)) * u64::from(side)).div_ceil(longer.into());
        u32::try_from(length).unwrap_or(side)
    };
    Some((stretched(width), stretched(height)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32, crop: bool) -> Option<(u32, u32)> {
        let target = target(Wish { width, height, crop, animated: false });
        (target.width < u32::MAX).then_some((target.width, target.height))
    }

    #[test]
    fn a_wish_gets_the_next_size() {
        assert_eq!(size(32, 32, false), Some((32, 32)));
        assert_eq!(size(33, 1, false), Some((96, 96)));
        assert_eq!(size(320, 241, false), Some((640, 480)));
        assert_eq!(size(0, 0, false), Some((32, 32)));
        assert_eq!(size(1601, 10, false), None);
        assert_eq!(size(96, 96, true), Some((96, 96)));
        assert_eq!(size(40, 20, true), Some((64, 32)));
        assert_eq!(size(3, 1000, true), Some((4, 1024)));
        assert_eq!(size(0, 0, true), Some((32, 32)));
        assert_eq!(size(u32::MAX, 1, true), None);
    }
}
