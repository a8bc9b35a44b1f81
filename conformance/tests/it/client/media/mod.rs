//! `/_matrix/client/v1/media` and `/_matrix/media`.

use http::Method;
use starling_conformance::client::{Answer, Api, User, path, text};

pub(crate) mod download;
mod legacy;
mod preview_url;
pub(crate) mod thumbnail;
mod upload;

const DOWNLOAD: &str = "/_matrix/client/v1/media/download/{}/{}";
const UPLOAD: &str = "/_matrix/media/v3/upload";

/// Uploads a file and returns its `mxc://` address.
pub(crate) async fn upload(user: &User, content_type: &str, query: &str, bytes: &[u8]) -> String {
    let target = format!("{UPLOAD}{query}");
    let answer = user.api.raw(Method::POST, &target, content_type, bytes.to_vec()).await.unwrap();
    text(&answer.ok().unwrap(), "/content_uri").unwrap().to_owned()
}

/// The path of an operation on a file.
pub(crate) fn of(template: &str, uri: &str) -> String {
    let (origin, id) = uri.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
    path(template, &[origin, id])
}

pub(crate) async fn download(api: &Api, uri: &str) -> Answer {
    api.get(&of(DOWNLOAD, uri)).await.unwrap()
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// A picture of so many pixels.
pub(crate) fn picture(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb([10, 200, 10]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
