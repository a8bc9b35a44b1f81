//! Making pictures smaller. Pure, and slow: not for the threads that answer requests.

use std::io::Cursor;

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

/// Quality of JPEG, out of 100.
const QUALITY: u8 = 80;

/// How a picture is to be made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Pixels.
    pub(super) width: u32,
    /// Pixels.
    pub(super) height: u32,
    /// Whether it fills that size, and what does not fit is cut off; otherwise it fits in.
    pub(super) crop: bool,
    /// Whether it may move.
    pub(super) animated: bool,
}

/// What became of a picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
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
pub(super) enum PictureError {
    /// It is of no known form, or broken.
    #[error("not a picture")]
    NotAPicture,
    /// It has too many pixels.
    #[error("too many pixels")]
    TooLarge,
}

impl From<ImageError> for PictureError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
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
pub(super) fn shrink(bytes: &[u8], target: Target) -> Result<Outcome, PictureError> {
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

/// Whether a picture has more than one frame.
fn moves(bytes: &[u8], format: ImageFormat) -> Result<bool, PictureError> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => GifDecoder::new(bytes)?.into_frames().take(2).flatten().count() == 2,
        ImageFormat::Png => PngDecoder::with_limits(bytes, limits())?.is_apng()?,
        ImageFormat::WebP => WebPDecoder::new(bytes)?.has_animation(),
        _ => false,
    })
}

fn frames(bytes: &[u8], format: ImageFormat) -> Result<Frames<'_>, PictureError> {
    let bytes = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => GifDecoder::new(bytes)?.into_frames(),
        ImageFormat::Png => PngDecoder::with_limits(bytes, limits())?.apng()?.into_frames(),
        _ => WebPDecoder::new(bytes)?.into_frames(),
    })
}

/// A moving picture as a smaller GIF.
fn shrink_moving(
    bytes: &[u8],
    format: ImageFormat,
    target: Target,
) -> Result<Outcome, PictureError> {
    let mut made = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut made, 10);
    encoder.set_repeat(Repeat::Infinite)?;
    let mut pixels = 0;
    for frame in frames(bytes, format)?.take(MOST_FRAMES) {
        let frame = frame?;
        let delay = frame.delay();
        let picture = DynamicImage::ImageRgba8(frame.into_buffer());
        pixels += u64::from(picture.width()) * u64::from(picture.height());
        if pixels > MOST_FRAME_PIXELS {
            break;
        }
        let picture = smaller(&picture, target).into_rgba8();
        encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay))?;
    }
    drop(encoder);
    Ok(Outcome::Made { bytes: made, content_type: "image/gif" })
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
pub(super) mod tests {
    use image::{Delay, RgbImage, RgbaImage};

    use super::*;

    /// A picture of one colour.
    pub(in crate::media) fn plain(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let picture = RgbImage::from_pixel(width, height, image::Rgb([200, 10, 10]));
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    fn moving(width: u32, height: u32, frames: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for frame in 0..frames {
            let picture =
                RgbaImage::from_pixel(width, height, image::Rgba([frame * 40, 0, 0, 255]));
            let delay = Delay::from_numer_denom_ms(100, 1);
            encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).unwrap();
        }
        drop(encoder);
        bytes
    }

    fn target(width: u32, height: u32, crop: bool) -> Target {
        Target { width, height, crop, animated: false }
    }

    fn made(outcome: Outcome) -> (DynamicImage, &'static str) {
        match outcome {
            Outcome::Made { bytes, content_type } => {
                (image::load_from_memory(&bytes).unwrap(), content_type)
            }
            Outcome::Itself(_) => panic!("nothing was made"),
        }
    }

    #[test]
    fn scaled_pictures_fit_in_and_cropped_ones_fill() {
        for (format, content_type) in [
            (ImageFormat::Png, "image/png"),
            (ImageFormat::Jpeg, "image/jpeg"),
            (ImageFormat::WebP, "image/png"),
            (ImageFormat::Gif, "image/png"),
        ] {
            let bytes = plain(400, 200, format);
            let (scaled, kind) = made(shrink(&bytes, target(100, 100, false)).unwrap());
            assert_eq!((scaled.width(), scaled.height(), kind), (100, 50, content_type));
            let (cropped, _) = made(shrink(&bytes, target(96, 96, true)).unwrap());
            assert_eq!((cropped.width(), cropped.height()), (96, 96));
        }
    }

    #[test]
    fn nothing_is_made_larger() {
        let bytes = plain(40, 20, ImageFormat::Png);
        assert_eq!(shrink(&bytes, target(96, 96, true)).unwrap(), Outcome::Itself("image/png"));
        let (cropped, _) = made(shrink(&bytes, target(32, 32, true)).unwrap());
        assert_eq!((cropped.width(), cropped.height()), (32, 20));
    }

    #[test]
    fn what_moves_stands_still_unless_it_may_move() {
        let bytes = moving(64, 64, 3);
        let small = Target { animated: true, ..target(32, 32, false) };
        let Outcome::Made { bytes: smaller, content_type } = shrink(&bytes, small).unwrap() else {
            panic!("it is smaller");
        };
        assert_eq!(content_type, "image/gif");
        assert_eq!(frames(&smaller, ImageFormat::Gif).unwrap().count(), 3);
        let itself = Target { animated: true, ..target(64, 64, false) };
        assert_eq!(shrink(&bytes, itself).unwrap(), Outcome::Itself("image/gif"));
        // As small as wanted, but it must not move.
        for side in [64, u32::MAX] {
            let (still, kind) = made(shrink(&bytes, target(side, side, false)).unwrap());
            assert_eq!((still.width(), still.height(), kind), (64, 64, "image/png"));
        }
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        for bytes in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"<svg/>"] {
            let refused = shrink(bytes, target(32, 32, false));
            assert_eq!(refused, Err(PictureError::NotAPicture), "{bytes:?}");
        }
        // A head that announces 30,000 × 30,000 pixels.
        let mut bomb = plain(1, 1, ImageFormat::Png);
        bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        let sum = crc(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(shrink(&bomb, target(32, 32, false)), Err(PictureError::TooLarge));
        let cut = plain(64, 64, ImageFormat::Jpeg);
        assert_eq!(shrink(&cut[..40], target(32, 32, false)), Err(PictureError::NotAPicture));
    }

    fn crc(bytes: &[u8]) -> u32 {
        let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
    }
}
