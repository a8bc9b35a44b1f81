//! Making pictures smaller. Pure, and slow: not for the threads that answer requests.

use std::io::{Cursor, ErrorKind};

use image::{
    AnimationDecoder as _, DynamicImage, Frame, Frames, ImageDecoder as _, ImageError, ImageFormat,
    ImageReader, Limits,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        jpeg::JpegEncoder,
        png::PngDecoder,
        webp::WebPDecoder,
    },
    imageops::FilterType,
};

mod bounded;
mod webp;

use bounded::Bounded;

/// Pixels of a picture that is worked on, at most.
const MOST_PIXELS: u64 = 50_000_000;

/// Pixels in a row or column, at most.
const LONGEST_SIDE: u32 = 32_768;

/// Bytes that working on one picture may take.
const MOST_MEMORY: u64 = 512 * 1024 * 1024;

/// Pictures of one that moves, at most; longer ones end early.
const MOST_FRAMES: usize = 200;

/// Pixels of all of them together, at most.
const MOST_FRAME_PIXELS: u64 = 200_000_000;

/// Bytes of a moving picture that is made, at most.
const MOST_MADE: usize = 32 * 1024 * 1024;

/// Quality of JPEG, out of 100.
const QUALITY: u8 = 80;

/// How a picture is to be made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether it fills that size, and what does not fit is cut off; otherwise it fits in.
    pub crop: bool,
    /// Whether it may move.
    pub animated: bool,
}

/// What became of a picture.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as small as wanted; it is of that type.
    Itself(&'static str),
    /// A smaller one.
    Made {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its type.
        content_type: &'static str,
    },
}

/// Why a picture cannot be made smaller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// It is of no known form, or broken.
    #[error("not a picture")]
    NotAPicture,
    /// It has too many pixels.
    #[error("too many pixels")]
    TooLarge,
    /// What was made of it has too many bytes.
    #[error("too many bytes")]
    NoPlace,
}

impl From<std::io::Error> for PictureError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull => Self::NoPlace,
            _ => Self::NotAPicture,
        }
    }
}

impl From<ImageError> for PictureError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            ImageError::IoError(error) => error.into(),
            _ => Self::NotAPicture,
        }
    }
}

/// Makes a picture smaller, never larger.
///
/// # Errors
///
/// [`PictureError`].
///
/// <https://spec.matrix.org/v1.19/client-server-api/#thumbnails>
pub fn shrink(bytes: &[u8], target: Target) -> Result<Outcome, PictureError> {
    let format = image::guess_format(bytes).map_err(|_| PictureError::NotAPicture)?;
    let content_type = content_type(format).ok_or(PictureError::NotAPicture)?;
    let size = reader(bytes, format).into_dimensions()?;
    if u64::from(size.0) * u64::from(size.1) > MOST_PIXELS {
        return Err(PictureError::TooLarge);
    }
    let moving = moves(bytes, format)?;
    let fits = size.0 <= target.width && size.1 <= target.height;
    if fits && (target.animated || !moving) {
        return Ok(Outcome::Itself(content_type));
    }
    if moving && target.animated {
        return shrink_moving(bytes, format, target);
    }
    let mut decoder = reader(bytes, format).into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let picture = smaller(&picture, target);
    let mut bytes = Vec::new();
    let content_type = if format == ImageFormat::Jpeg {
        picture.to_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?;
        "image/jpeg"
    } else {
        picture.to_rgba8().write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        "image/png"
    };
    Ok(Outcome::Made { bytes, content_type })
}

fn content_type(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Gif => Some("image/gif"),
        ImageFormat::Jpeg => Some("image/jpeg"),
        ImageFormat::Png => Some("image/png"),
        ImageFormat::WebP => Some("image/webp"),
        _ => None,
    }
}

fn reader(bytes: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    reader
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    limits
}

/// The limits hold for the frames, too, which may be larger than the picture says it is.
fn gif(bytes: Cursor<&[u8]>) -> Result<GifDecoder<Cursor<&[u8]>>, PictureError> {
    let mut decoder = GifDecoder::new(bytes)?;
    decoder.set_limits(limits())?;
    Ok(decoder)
}

fn webp(bytes: Cursor<&[u8]>) -> Result<WebPDecoder<Cursor<&[u8]>>, PictureError> {
    let mut decoder = WebPDecoder::new(bytes)?;
    decoder.set_limits(limits())?;
    Ok(decoder)
}

/// Whether a picture has more than one frame.
fn moves(bytes: &[u8], format: ImageFormat) -> Result<bool, PictureError> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => gif(bytes)?.into_frames().take(2).flatten().count() == 2,
        ImageFormat::Png => PngDecoder::with_limits(bytes, limits())?.is_apng()?,
        ImageFormat::WebP => webp(bytes)?.has_animation(),
        _ => false,
    })
}

fn frames(bytes: &[u8], format: ImageFormat) -> Result<Frames<'_>, PictureError> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => gif(bytes)?.into_frames(),
        ImageFormat::Png => PngDecoder::with_limits(bytes, limits())?.apng()?.into_frames(),
        _ => webp(bytes)?.into_frames(),
    })
}

/// A moving picture made smaller: a GIF of a GIF, and of the others, which have more colours and
/// transparency, a WebP. If it would have more bytes than the picture that it is of, that one.
fn shrink_moving(
    bytes: &[u8],
    format: ImageFormat,
    target: Target,
) -> Result<Outcome, PictureError> {
    // What is to have another form is made, also if it has more bytes.
    let most = if target.crop { MOST_MADE } else { MOST_MADE.min(bytes.len()) };
    let mut made = Bounded::new(most);
    let frames = smaller_frames(bytes, format, target)?;
    let (written, made_type) = match format {
        ImageFormat::Gif => (write_gif(frames, &mut made), "image/gif"),
        _ => (webp::write(frames, &mut made), "image/webp"),
    };
    match written {
        Ok(()) => Ok(Outcome::Made { bytes: made.into_bytes(), content_type: made_type }),
        Err(PictureError::NoPlace) => {
            content_type(format).map(Outcome::Itself).ok_or(PictureError::NotAPicture)
        }
        Err(error) => Err(error),
    }
}

fn write_gif(
    frames: impl Iterator<Item = Result<Frame, PictureError>>,
    out: &mut Bounded,
) -> Result<(), PictureError> {
    let mut encoder = GifEncoder::new_with_speed(out, 10);
    encoder.set_repeat(Repeat::Infinite)?;
    for frame in frames {
        encoder.encode_frame(frame?)?;
    }
    Ok(())
}

/// The frames of a moving picture in the wanted size, as many as are worked on.
fn smaller_frames(
    bytes: &[u8],
    format: ImageFormat,
    target: Target,
) -> Result<impl Iterator<Item = Result<Frame, PictureError>>, PictureError> {
    let mut pixels = 0;
    let mut smaller = move |frame: Frame| {
        let delay = frame.delay();
        let picture = DynamicImage::ImageRgba8(frame.into_buffer());
        pixels += u64::from(picture.width()) * u64::from(picture.height());
        let picture = (pixels <= MOST_FRAME_PIXELS).then(|| smaller(&picture, target).into_rgba8());
        picture.map(|picture| Frame::from_parts(picture, 0, 0, delay))
    };
    Ok(frames(bytes, format)?.take(MOST_FRAMES).map_while(move |frame| match frame {
        Ok(frame) => smaller(frame).map(Ok),
        Err(error) => Some(Err(error.into())),
    }))
}

/// A picture in the wanted size, or the next that needs no pixel that is not there.
fn smaller(picture: &DynamicImage, target: Target) -> DynamicImage {
    if target.crop {
        let width = target.width.min(picture.width()).max(1);
        let height = target.height.min(picture.height()).max(1);
        picture.resize_to_fill(width, height, FilterType::Triangle)
    } else if picture.width() <= target.width && picture.height() <= target.height {
        picture.clone()
    } else {
        picture.resize(target.width, target.height, FilterType::Triangle)
    }
}

#[cfg(test)]
pub(super) mod tests;
