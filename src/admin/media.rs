//! What `starling admin media` can be told about files, and how it is done.

use clap::Subcommand;
use ruma::OwnedRoomId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use starling_engine::{
    Engine,
    admin::media::{self, File, Old, Order, Page, Selection},
    media::MediaId,
};

use super::orders::{BY, DAY_MS, find, lines};

/// About files.
#[derive(Debug, Deserialize, Serialize, Subcommand)]
pub(crate) enum MediaOrder {
    /// List the files of a user, the newest first: one JSON object on each line.
    List {
        /// The name or the user id.
        name: String,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// List the files that a room names: one address on each line.
    InRoom {
        /// The room.
        room: OwnedRoomId,
    },
    /// Say what is known of a file.
    Show {
        /// Its address, `mxc://…`.
        file: String,
    },
    /// Give a file to nobody any more, under whatever name.
    Quarantine {
        /// Its address, `mxc://…`.
        file: String,
    },
    /// The same with all files of a user.
    QuarantineUser {
        /// The name or the user id.
        name: String,
    },
    /// The same with all files that a room names.
    QuarantineRoom {
        /// The room.
        room: OwnedRoomId,
    },
    /// Give a file out again.
    Release {
        /// Its address, `mxc://…`.
        file: String,
    },
    /// Have a file left out when others are quarantined.
    Protect {
        /// Its address, `mxc://…`.
        file: String,
    },
    /// Undo that.
    Unprotect {
        /// Its address, `mxc://…`.
        file: String,
    },
    /// Remove a file for good.
    Remove {
        /// Its address, `mxc://…`.
        file: String,
    },
    /// Remove for good what users of this server uploaded and nobody wanted for some days, but avatars.
    RemoveUnused {
        /// How many days.
        #[arg(long)]
        days: u32,
        /// Only files larger than so many bytes.
        #[arg(long, default_value_t = 0)]
        larger_than: u32,
    },
    /// Forget files of other servers that nobody wanted for some days; they can be fetched again.
    PurgeCache {
        /// How many days.
        #[arg(long)]
        days: u32,
    },
}

/// Does it, and says what came of it.
pub(super) async fn about(engine: &Engine, order: MediaOrder) -> anyhow::Result<String> {
    let before = |days: u32| engine.clock.now_ms() - i64::from(days) * DAY_MS;
    match order {
        MediaOrder::List { name, limit } => {
            let user = find(engine, &name).await?;
            let limit = limit.into();
            let page = Page { order: Order::CreatedTs, backwards: true, offset: 0, limit };
            let (files, _) = media::of_user(engine, &user, page).await?;
            lines(files.iter().map(shown))
        }
        MediaOrder::InRoom { room } => {
            let files = media::of_room(engine, &room).await?;
            Ok(files.iter().map(MediaId::to_string).collect::<Vec<_>>().join("\n"))
        }
        MediaOrder::Show { file } => Ok(shown(&known(engine, &file).await?.1).to_string()),
        MediaOrder::Quarantine { file } => {
            let (id, _) = known(engine, &file).await?;
            hold(engine, Selection::One(&id)).await
        }
        MediaOrder::QuarantineUser { name } => {
            let user = find(engine, &name).await?;
            hold(engine, Selection::Of(&user)).await
        }
        MediaOrder::QuarantineRoom { room } => hold(engine, Selection::In(&room)).await,
        MediaOrder::Release { file } => {
            media::release(engine, known(engine, &file).await?.1).await?;
            Ok(format!("{file} is given out."))
        }
        MediaOrder::Protect { file } => {
            media::protect(engine, &known(engine, &file).await?.0, true).await?;
            Ok(format!("{file} is left out when files are quarantined."))
        }
        MediaOrder::Unprotect { file } => {
            media::protect(engine, &known(engine, &file).await?.0, false).await?;
            Ok(format!("{file} is not left out when files are quarantined."))
        }
        MediaOrder::Remove { file } => {
            let (_, found) = known(engine, &file).await?;
            media::remove(engine, vec![found]).await?;
            Ok(format!("Removed {file}."))
        }
        MediaOrder::RemoveUnused { days, larger_than } => {
            let (before_ts, larger_than) = (before(days), larger_than.into());
            let old = Old { before_ts, larger_than, keep_avatars: true };
            let removed = media::remove_old(engine, old).await?;
            Ok(format!("Removed {} files.", removed.len()))
        }
        MediaOrder::PurgeCache { days } => {
            let forgotten = media::purge_cache(engine, before(days)).await?;
            Ok(format!("Forgot {forgotten} files."))
        }
    }
}

async fn hold(engine: &Engine, selection: Selection<'_>) -> anyhow::Result<String> {
    let count = media::quarantine(engine, BY, selection).await?;
    Ok(format!("{count} of them are given to nobody."))
}

async fn known(engine: &Engine, address: &str) -> anyhow::Result<(MediaId, File)> {
    let id = MediaId::from_uri(address);
    let id = id.ok_or_else(|| anyhow::anyhow!("{address} is not the address of a file"))?;
    let file = media::get(engine, &id).await?;
    Ok((id, file.ok_or_else(|| anyhow::anyhow!("{address} is not here"))?))
}

fn shown(file: &File) -> serde_json::Value {
    json!({
        "address": format!("mxc://{}/{}", file.origin, file.media_id),
        "uploader": file.uploader,
        "content_type": file.content_type,
        "file_name": file.file_name,
        "bytes": file.size,
        "sha256": file.hash,
        "created_ts": file.created_ts,
        "used_ts": file.used_ts,
        "quarantined_by": file.quarantined_by,
        "protected": file.protected,
    })
}
