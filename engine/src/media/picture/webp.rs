//! Moving pictures as WebP. The encoder that we have knows still pictures; each frame is one of them, in
//! the container for several.
//!
//! <https://developers.google.com/speed/webp/docs/riff_container>

use std::io::{self, Write};

use image::{ExtendedColorType, Frame, codecs::webp::WebPEncoder};

use super::{PictureError, bounded::Bounded};

/// Bytes before the first chunk of a file: `RIFF`, a length, `WEBP`.
const HEAD: usize = 12;

/// In the first chunk: it moves, and parts of it may be transparent.
const ANIMATION_AND_ALPHA: u8 = 0b0001_0010;

/// Of a frame: what was there before does not shine through, and stays until the next.
const REPLACE: u8 = 0b0000_0010;

/// How long a frame can be shown, in milliseconds: there are 24 bits for that.
const LONGEST: u32 = (1 << 24) - 1;

/// Writes frames of one size that are repeated for ever.
///
/// # Errors
///
/// When a frame is none, or there is not enough place.
pub(super) fn write(
    frames: impl Iterator<Item = Result<Frame, PictureError>>,
    out: &mut Bounded,
) -> Result<(), PictureError> {
    out.write_all(b"RIFF\0\0\0\0WEBP")?;
    let mut size = None;
    for frame in frames {
        let frame = frame?;
        let dimensions = frame.buffer().dimensions();
        if size.is_none() {
            size = Some(dimensions);
            begin(dimensions, out)?;
        }
        add(&frame, out)?;
    }
    if size.is_none() {
        return Err(PictureError::NotAPicture);
    }
    let length = u32::try_from(out.bytes().len() - 8).unwrap_or(u32::MAX);
    out.replace(4, length.to_le_bytes());
    Ok(())
}

fn begin((width, height): (u32, u32), out: &mut Bounded) -> io::Result<()> {
    chunk(b"VP8X", 10, out)?;
    out.write_all(&[ANIMATION_AND_ALPHA, 0, 0, 0])?;
    write_24_bits(width.saturating_sub(1), out)?;
    write_24_bits(height.saturating_sub(1), out)?;
    // A transparent background, and no end of the repetitions.
    chunk(b"ANIM", 6, out)?;
    out.write_all(&[0; 6])
}

fn add(frame: &Frame, out: &mut Bounded) -> Result<(), PictureError> {
    let (width, height) = frame.buffer().dimensions();
    let mut still = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut still);
    encoder.encode(frame.buffer(), width, height, ExtendedColorType::Rgba8)?;
    let picture = still.get(HEAD..).unwrap_or_default();
    chunk(b"ANMF", 16 + picture.len(), out)?;
    out.write_all(&[0; 6])?;
    write_24_bits(width.saturating_sub(1), out)?;
    write_24_bits(height.saturating_sub(1), out)?;
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    write_24_bits((numerator / denominator.max(1)).min(LONGEST), out)?;
    out.write_all(&[REPLACE])?;
    // It ends at an even place, as every chunk.
    Ok(out.write_all(picture)?)
}

fn chunk(name: &[u8; 4], length: usize, out: &mut Bounded) -> io::Result<()> {
    out.write_all(name)?;
    out.write_all(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes())
}

fn write_24_bits(number: u32, out: &mut Bounded) -> io::Result<()> {
    let [low, middle, high, _] = number.to_le_bytes();
    out.write_all(&[low, middle, high])
}
