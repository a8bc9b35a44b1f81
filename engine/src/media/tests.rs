//! Files over an engine, on each database.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use image::ImageFormat;
use ruma::{UserId, user_id};
use starling_storage::{
    Change,
    media::{self as rows, MediaRow, Write},
};

use super::{
    Found, MediaError, MediaId,
    find::{self, Effort},
    picture::tests::plain,
    sweep, thumbnails,
    upload::{self, Label},
};
use crate::{
    config::Media,
    testing::{TestEngine, config, on_each_database_with},
};

fn alice() -> &'static UserId {
    user_id!("@alice:test")
}

fn bob() -> &'static UserId {
    user_id!("@bob:test")
}

const EFFORT: Effort = Effort { patience: Duration::ZERO, ask_others: false, authenticated: true };

fn body(bytes: impl Into<Bytes>) -> impl Stream<Item = Result<Bytes, String>> + Send {
    stream::iter([Ok(bytes.into())])
}

fn label(content_type: &str, file_name: &str) -> Label {
    Label { content_type: Some(content_type.to_owned()), file_name: Some(file_name.to_owned()) }
}

async fn on_each(media: Media, test: impl AsyncFn(&TestEngine)) {
    let mut config = config(ruma::server_name!("test"));
    config.media = media;
    let test = &test;
    let run = async |engine: TestEngine| {
        test(&engine).await;
        engine
    };
    on_each_database_with(config, run).await.unwrap();
}

async fn found(test: &TestEngine, id: &MediaId) -> Result<Found, MediaError> {
    find::find(&test.engine, id, EFFORT).await
}

#[tokio::test]
async fn what_is_uploaded_is_found_with_what_was_said_of_it() {
    on_each(Media::default(), async |test| {
        let engine = &test.engine;
        let id = upload::upload(engine, alice(), label("text/plain", "a.txt"), body("hello")).await;
        let id = id.unwrap();
        let file = found(test, &id).await.unwrap();
        assert_eq!(file.content_type.as_deref(), Some("text/plain"));
        assert_eq!(file.file_name.as_deref(), Some("a.txt"));
        assert_eq!(engine.blobs.read(&file.hash).await.unwrap(), "hello");
        // Those who are not logged in do not get it.
        let anybody = Effort { authenticated: false, ..EFFORT };
        let refused = find::find(engine, &id, anybody).await;
        assert!(matches!(refused, Err(MediaError::NotFound)), "{refused:?}");
        // Labels that are none are left out.
        let label = label(&"x".repeat(300), "a\r\nSet-Cookie: b");
        let id = upload::upload(engine, alice(), label, body("hello")).await.unwrap();
        let again = found(test, &id).await.unwrap();
        assert_eq!((again.content_type, again.file_name, again.hash), (None, None, file.hash));
    })
    .await;
}

#[tokio::test]
async fn nobody_uploads_more_than_they_may() {
    let media = Media { largest_upload: 10, quota_per_user: Some(12), ..Media::default() };
    on_each(media, async |test| {
        let put = async |user, bytes: &'static str| {
            upload::upload(&test.engine, user, Label::default(), body(bytes)).await
        };
        let refused = put(alice(), "12345678901").await;
        assert!(matches!(refused, Err(MediaError::TooLarge)), "{refused:?}");
        put(alice(), "1234567890").await.unwrap();
        let refused = put(alice(), "123").await;
        assert!(matches!(refused, Err(MediaError::TooLarge)), "{refused:?}");
        put(alice(), "12").await.unwrap();
        let refused = put(alice(), "").await;
        assert!(matches!(refused, Err(MediaError::OverQuota)), "{refused:?}");
        put(bob(), "1234567890").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_promise_is_kept_once_and_in_time_by_who_made_it() {
    on_each(Media::default(), async |test| {
        let engine = &test.engine;
        let keep = async |user, id: &MediaId| {
            upload::keep_promise(engine, user, id, Label::default(), body("hello")).await
        };
        let (id, expires) = upload::promise(engine, alice()).await.unwrap();
        let waiting = found(test, &id).await;
        assert!(matches!(waiting, Err(MediaError::NotYetUploaded)), "{waiting:?}");
        let other = keep(bob(), &id).await;
        assert!(matches!(other, Err(MediaError::NotYours)), "{other:?}");
        // Who waits for it gets it when it comes.
        let patient = Effort { patience: Duration::from_secs(60), ..EFFORT };
        let (file, kept) = tokio::join!(find::find(engine, &id, patient), keep(alice(), &id));
        kept.unwrap();
        assert_eq!(file.unwrap().size, 5);
        let twice = keep(alice(), &id).await;
        assert!(matches!(twice, Err(MediaError::Taken)), "{twice:?}");

        let (late, _) = upload::promise(engine, alice()).await.unwrap();
        test.clock.advance(expires);
        let refused = keep(alice(), &late).await;
        assert!(matches!(refused, Err(MediaError::NotFound)), "{refused:?}");
        let unknown = MediaId::new("test", "unknown").unwrap();
        let refused = keep(alice(), &unknown).await;
        assert!(matches!(refused, Err(MediaError::NotFound)), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn promises_are_bounded() {
    on_each(Media::default(), async |test| {
        for _ in 0..100 {
            upload::promise(&test.engine, alice()).await.unwrap();
        }
        let refused = upload::promise(&test.engine, alice()).await;
        assert!(matches!(refused, Err(MediaError::TooManyPromises)), "{refused:?}");
        upload::promise(&test.engine, bob()).await.unwrap();
        test.clock.advance(24 * 60 * 60 * 1_000);
        sweep::sweep(&test.engine).await.unwrap();
        upload::promise(&test.engine, alice()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn pictures_are_made_smaller_a_few_times_and_go_with_what_they_are_of() {
    on_each(Media::default(), async |test| {
        let engine = &test.engine;
        let picture = plain(400, 200, ImageFormat::Png);
        let id = upload::upload(engine, alice(), Label::default(), body(picture)).await.unwrap();
        let make = async |width| {
            let wish = thumbnails::Wish { width, height: 20, crop: true, animated: false };
            thumbnails::find(engine, &id, wish, EFFORT).await.unwrap().content_type
        };
        for width in 20..40 {
            assert_eq!(make(width).await, "image/png");
        }
        let hash = found(test, &id).await.unwrap().hash;
        sweep::empty_bin(engine).await.unwrap();
        engine.blobs.read(&hash).await.unwrap();
        let text = upload::upload(engine, alice(), Label::default(), body("hello")).await.unwrap();
        let wish = thumbnails::Wish { width: 20, height: 20, crop: false, animated: false };
        let refused = thumbnails::find(engine, &text, wish, EFFORT).await.err();
        assert!(matches!(refused, Some(MediaError::NotAPicture)), "{refused:?}");

        let row = find::here(engine, &id).await.unwrap().unwrap();
        let mut change = Change::new();
        change.write(sweep::removal(row));
        engine.storage.commit(change).await.unwrap();
        sweep::sweep(engine).await.unwrap();
        assert!(engine.blobs.read(&hash).await.is_err());
        let mut conn = engine.storage.read().await.unwrap();
        let left = starling_storage::media::garbage(&mut conn, 10).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn bytes_stay_as_long_as_anything_needs_them() {
    on_each(Media::default(), async |test| {
        let engine = &test.engine;
        let put = async |user| {
            upload::upload(engine, user, Label::default(), body("shared")).await.unwrap()
        };
        let (one, two) = (put(alice()).await, put(bob()).await);
        for (gone, is_left) in [(one, true), (two.clone(), false)] {
            let hash = found(test, &gone).await.unwrap().hash;
            let mut change = Change::new();
            change.write(sweep::removal(find::here(engine, &gone).await.unwrap().unwrap()));
            engine.storage.commit(change).await.unwrap();
            sweep::sweep(engine).await.unwrap();
            assert_eq!(engine.blobs.read(&hash).await.is_ok(), is_left);
        }
    })
    .await;
}

/// Those that nobody wanted for longest go first, and those of this server never.
#[tokio::test]
async fn files_of_other_servers_make_room_for_newer_ones() {
    let media = Media { most_remote: Some(25), ..Media::default() };
    on_each(media, async |test| {
        let engine = &test.engine;
        let own = upload::upload(engine, alice(), Label::default(), body("0123456789")).await;
        let own = own.unwrap();
        let hash = found(test, &own).await.unwrap().hash;
        for number in 0..5 {
            let row = MediaRow {
                origin: "other".to_owned(),
                media_id: format!("m{number}"),
                hash: Some(hash.to_string()),
                size: 10,
                content_type: None,
                file_name: None,
                uploader: None,
                created_ts: number,
                used_ts: number,
                expires_ts: None,
                authenticated: true,
                quarantined_by: None,
                protected: false,
            };
            let mut change = Change::new();
            change.write(Write::Add(row));
            engine.storage.commit(change).await.unwrap();
        }
        sweep::sweep(engine).await.unwrap();
        for (number, is_left) in [false, false, false, true, true].into_iter().enumerate() {
            let mut conn = engine.storage.read().await.unwrap();
            let row = rows::get(&mut conn, "other", &format!("m{number}")).await.unwrap();
            assert_eq!(row.is_some(), is_left, "m{number}");
        }
        assert!(found(test, &own).await.is_ok());
    })
    .await;
}
