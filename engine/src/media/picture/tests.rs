//! What becomes of pictures.

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
        let picture = RgbaImage::from_pixel(width, height, image::Rgba([frame * 40, 0, 0, 255]));
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

/// What is shown in each frame of a moving picture at one place, and for how many milliseconds.
fn shown(bytes: &[u8], format: ImageFormat) -> Vec<([u8; 4], u32)> {
    let frames = frames(bytes, format).unwrap().map(Result::unwrap);
    frames
        .map(|frame| (frame.buffer().get_pixel(3, 3).0, frame.delay().numer_denom_ms().0))
        .collect()
}

fn moving_webp(width: u32, height: u32, colours: &[[u8; 4]]) -> Vec<u8> {
    let frame = |colour: &[u8; 4]| {
        let picture = RgbaImage::from_fn(width, height, |x, y| {
            // Noise, so that fewer pixels are fewer bytes.
            let noise = (x * 31 + y * 17 + x * y % 13) as u8 % 32;
            image::Rgba(if x < 32 && y < 32 { *colour } else { [noise, noise / 2, 9, 255] })
        });
        Ok(Frame::from_parts(picture, 0, 0, Delay::from_numer_denom_ms(120, 1)))
    };
    let mut bytes = Bounded::new(MOST_MADE);
    webp::write(colours.iter().map(frame), &mut bytes).unwrap();
    bytes.into_bytes()
}

#[test]
fn frames_of_webp_keep_colours_transparency_and_time() {
    let colours = [[1, 2, 3, 255], [250, 128, 7, 255], [9, 9, 9, 0]];
    let bytes = moving_webp(200, 100, &colours);
    assert_eq!(shown(&bytes, ImageFormat::WebP), colours.map(|colour| (colour, 120)));
    let small = Target { animated: true, ..target(64, 32, false) };
    let Outcome::Made { bytes: made, content_type } = shrink(&bytes, small).unwrap() else {
        panic!("it is smaller");
    };
    assert_eq!(content_type, "image/webp");
    assert_eq!(shown(&made, ImageFormat::WebP), colours.map(|colour| (colour, 120)));
    assert_eq!(image::load_from_memory(&made).unwrap().width(), 64);
    let (still, kind) = made_still(&bytes, small);
    assert_eq!((still.width(), kind), (64, "image/png"));
}

fn made_still(bytes: &[u8], small: Target) -> (DynamicImage, &'static str) {
    made(shrink(bytes, Target { animated: false, ..small }).unwrap())
}

#[test]
fn apng_becomes_webp() {
    let (mut bytes, picture) = (Vec::new(), vec![77; 200 * 100 * 4]);
    let mut encoder = png::Encoder::new(&mut bytes, 200, 100);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_animated(2, 0).unwrap();
    encoder.set_frame_delay(80, 1_000).unwrap();
    encoder.set_compression(png::Compression::NoCompression);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&picture).unwrap();
    writer.write_image_data(&vec![0; picture.len()]).unwrap();
    writer.finish().unwrap();
    let small = Target { animated: true, ..target(32, 32, true) };
    let Outcome::Made { bytes: made, content_type } = shrink(&bytes, small).unwrap() else {
        panic!("it is smaller");
    };
    assert_eq!(content_type, "image/webp");
    assert_eq!(shown(&made, ImageFormat::WebP), [([77; 4], 80), ([0; 4], 80)]);
    assert_eq!(made_still(&bytes, small).1, "image/png");
}

#[test]
fn there_is_place_for_so_many_bytes_and_no_more() {
    let mut full = Bounded::new(30);
    let frame = || Ok(Frame::new(RgbaImage::new(9, 9)));
    let written = webp::write([frame(), frame()].into_iter(), &mut full);
    assert_eq!(written, Err(PictureError::NoPlace));
}

/// By what a file begins with, whatever its name and type say.
#[test]
fn only_four_kinds_of_pictures_are_decoded() {
    let ico = [&[0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0, 32, 0][..], &[0; 50]].concat();
    let avif = [&[0, 0, 0, 28][..], b"ftypavif", &[0; 50]].concat();
    let heic = [&[0, 0, 0, 28][..], b"ftypheic", &[0; 50]].concat();
    let tiff = [&b"II*\0"[..], &[8, 0, 0, 0], &[0; 50]].concat();
    let tga = [&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 24, 0][..], &[9; 3]].concat();
    for bytes in [
        &b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0"[..],
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"%PDF-1.7\n",
        b"8BPS\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\x01",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"P6 1 1 255 abc",
        b"farbfeld\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0",
        b"DDS \x7c\0\0\0",
        b"#?RADIANCE\n",
        b"qoif\0\0\0\x01\0\0\0\x01\x03\0",
        b"\xff\x0a\0\0",
        &ico,
        &avif,
        &heic,
        &tiff,
        &tga,
    ] {
        let refused = shrink(bytes, target(32, 32, false));
        assert_eq!(refused, Err(PictureError::NotAPicture), "{bytes:?}");
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

/// A picture of one pixel with a frame of 65,279 × 65,279, in 49 bytes: four gigabytes.
#[test]
fn a_frame_that_is_larger_than_its_picture_takes_no_more_than_others() {
    let bomb = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0!\xf9\x04\x04\x0a\0\0\0\
                 ,\xf7\xff\xef\xff\xfe\xff\xfe\xff\0\x0244a\x01\0\x02D\x01\0;";
    assert!(!moves(bomb, ImageFormat::Gif).unwrap());
    let refused = frames(bomb, ImageFormat::Gif).unwrap().next().unwrap();
    assert!(matches!(refused, Err(ImageError::Limits(_))));
    for animated in [false, true] {
        let target = Target { animated, ..target(32, 32, false) };
        assert_eq!(shrink(bomb, target), Ok(Outcome::Itself("image/gif")), "it is small already");
    }
}
