//! Claims: what must hold for a change to be applied, and what it takes so that no other can.

use std::collections::HashSet;

use super::{CommitError, Pending};
use crate::{
    account_data,
    accounts::{self, Once},
    backups,
    change::{Change, Claim},
    db::{Conn, Result},
    encryption, events, media, rooms, to_device,
};

/// Leaves out of a batch what claims the same name as an earlier change of it: who loses against a
/// change that is not committed would be told of something that may never be. Later changes of the same
/// rooms stay behind it.
pub(super) fn split_repeated_claims(pending: Vec<Pending>) -> (Vec<Pending>, Vec<Pending>) {
    let (mut seen, mut held_up) = (HashSet::new(), HashSet::new());
    pending.into_iter().partition(|p| {
        let keys: Vec<String> = p.change.claims.iter().map(claim_key).collect();
        let rooms = || p.change.rooms.iter().map(|room| room.room_id.clone());
        let free =
            keys.iter().all(|key| !seen.contains(key)) && rooms().all(|id| !held_up.contains(&id));
        match free {
            true => seen.extend(keys),
            false => held_up.extend(rooms()),
        }
        free
    })
}

fn claim_key(claim: &Claim) -> String {
    match claim {
        Claim::Transaction(txn) => format!("t\0{:?}", txn.request),
        Claim::NewUser(user) => format!("u\0{}", user.user_id),
        Claim::Guest { user_id, .. } => format!("u\0{user_id}"),
        Claim::Threepid(row) => format!("3\0{}\0{}", row.medium, row.address),
        Claim::EmailAttempt { row, .. } => {
            format!("m\0{}\0{}\0{:?}", row.address, row.purpose, row.secret_hash)
        }
        Claim::NewAlias(alias) => format!("a\0{}", alias.alias),
        Claim::NewRoom(room) => format!("r\0{}", room.room_id),
        Claim::NewRegistrationToken(row) => format!("g\0{}", row.token),
        Claim::RegistrationToken { token, .. } => format!("g\0{token}"),
        Claim::Password { user_id, .. } => format!("p\0{user_id}"),
        Claim::Once(once) => format!("o\0{once:?}"),
        // Whoever takes the session claims it by the same name.
        Claim::Uia(p) => format!("o\0{:?}", Once::UiaSession(p.row.session_id.clone())),
        Claim::AccountData(e) => format!("d\0{}\0{}\0{}", e.user_id, e.room_id, e.kind),
        Claim::Attempt(attempt) => format!("c\0{}\0{}", attempt.bucket, attempt.key),
        Claim::Rotate(rotation) => format!("f\0{:?}", rotation.token_hash),
        Claim::OneTimeKey(k) => {
            format!("k\0{}\0{}\0{}\0{}", k.user_id, k.device_id, k.algorithm, k.key_id)
        }
        Claim::NewBackup(row) => format!("b\0{}", row.user_id),
        Claim::NewestBackup { user_id, .. } => format!("b\0{user_id}"),
        Claim::ToDevice(r) => format!("e\0{}\0{}", r.origin, r.message_id),
        Claim::MediaPromise(kept) => format!("b\0{}\0{}", kept.origin, kept.media_id),
    }
}

/// Makes the claims of a change; the error that it loses by, if it loses one.
pub(super) async fn claim(conn: &mut Conn, change: &Change) -> Result<Option<CommitError>> {
    for claim in &change.claims {
        let (won, lost) = match claim {
            Claim::Transaction(txn) => match events::transactions::claim(conn, txn).await? {
                Some(event_id) => return Ok(Some(CommitError::TransactionTaken(event_id))),
                None => continue,
            },
            Claim::NewUser(user) => {
                (accounts::claim_user(conn, user).await?, CommitError::NameTaken)
            }
            Claim::Guest { user_id, password_hash } => (
                accounts::claim_guest(conn, user_id, password_hash.clone()).await?,
                CommitError::UsedUp,
            ),
            Claim::Threepid(row) => {
                (accounts::threepids::claim(conn, row).await?, CommitError::UsedUp)
            }
            Claim::EmailAttempt { row, expired } => {
                (accounts::email_sessions::claim(conn, row, *expired).await?, CommitError::UsedUp)
            }
            Claim::NewAlias(alias) => {
                (rooms::claim_alias(conn, alias).await?, CommitError::NameTaken)
            }
            Claim::NewRoom(room) => (rooms::claim_new(conn, room).await?, CommitError::NameTaken),
            Claim::NewRegistrationToken(row) => {
                (accounts::registration_tokens::claim_new(conn, row).await?, CommitError::NameTaken)
            }
            Claim::RegistrationToken { token, now_ts } => (
                accounts::registration_tokens::claim(conn, token, *now_ts).await?,
                CommitError::UsedUp,
            ),
            Claim::Password { user_id, hash } => {
                let hash = hash.as_deref();
                (accounts::claim_password(conn, user_id, hash).await?, CommitError::UsedUp)
            }
            Claim::Once(once) => (accounts::claim_once(conn, once).await?, CommitError::UsedUp),
            Claim::Uia(progress) => {
                (accounts::uia::claim(conn, progress).await?, CommitError::UsedUp)
            }
            Claim::AccountData(expected) => {
                (account_data::claim(conn, expected).await?, CommitError::Conflict)
            }
            Claim::Attempt(attempt) => {
                (accounts::attempts::claim(conn, attempt).await?, CommitError::UsedUp)
            }
            Claim::MediaPromise(kept) => (media::claim(conn, kept).await?, CommitError::UsedUp),
            Claim::Rotate(rotation) => {
                (accounts::tokens::claim_rotation(conn, rotation).await?, CommitError::UsedUp)
            }
            Claim::OneTimeKey(key) => {
                (encryption::one_time_keys::claim(conn, key).await?, CommitError::UsedUp)
            }
            Claim::NewBackup(row) => (backups::claim_new(conn, row).await?, CommitError::UsedUp),
            Claim::NewestBackup { user_id, version } => {
                (backups::claim_newest(conn, user_id, *version).await?, CommitError::UsedUp)
            }
            Claim::ToDevice(received) => {
                (to_device::claim(conn, received).await?, CommitError::UsedUp)
            }
        };
        if !won {
            return Ok(Some(lost));
        }
    }
    for room in &change.rooms {
        if !rooms::claim_version(conn, room).await? {
            return Ok(Some(CommitError::Conflict));
        }
    }
    Ok(None)
}
