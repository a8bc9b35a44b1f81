//! `starling admin`: what the administrator does to accounts and rooms, whether the server runs or not.
//!
//! Two processes must not work on one SQLite file, and a running server remembers sessions. So a
//! running server listens on a socket in its data directory, and the command hands its order over
//! there; only when nobody answers does it open the database itself.

mod export;
mod media;
mod orders;
mod socket;

use std::path::PathBuf;

use ruma::UserId;
use serde::{Deserialize, Serialize};
use starling_engine::{
    Engine,
    accounts::{admin, reports},
    admin::users,
    clock::SystemClock,
    keys::signing,
};

use crate::{config::Config, database, engine};

pub(crate) use media::MediaOrder;
pub(crate) use orders::{RoomOrder, ServerOrder, TokenOrder, UserOrder};
pub(crate) use socket::{listener, router};

/// Something to be done.
#[derive(Deserialize, Serialize)]
pub(crate) enum Order {
    /// Make an account.
    CreateUser {
        /// The part of the user id before the colon.
        name: String,
        /// Its password.
        password: String,
        /// Whether the account administers this server.
        admin: bool,
    },
    /// Give an account another password and end its sessions.
    ResetPassword {
        /// The user id, or the part before the colon.
        name: String,
        /// The new password.
        password: String,
    },
    /// Write what the server knows about a user into a directory.
    ExportUser {
        /// The user id, or the part before the colon.
        name: String,
        /// The directory, which is made.
        directory: PathBuf,
    },
    /// Show what users have reported.
    ListReports {
        /// How many at most.
        limit: u32,
    },
    /// About accounts.
    Users(UserOrder),
    /// About rooms.
    Rooms(RoomOrder),
    /// About files.
    Media(MediaOrder),
    /// About the tokens by which people register.
    Tokens(TokenOrder),
    /// About the servers that are sent to.
    Servers(ServerOrder),
    /// Say something to a user in the name of the server.
    Notice {
        /// The user id, or the part before the colon.
        name: String,
        /// What is said.
        text: String,
    },
    /// Show what is older than the policies of its rooms allow.
    ListExpired,
}

/// Has an order carried out, and gives back what to say about it.
///
/// # Errors
///
/// Why it could not be, for people.
pub(crate) async fn give(config: &Config, order: Order) -> anyhow::Result<String> {
    if let Some(answer) = socket::hand_over(config, &order).await? {
        return answer.map_err(anyhow::Error::msg);
    }
    let storage = database::open(config).await?;
    let engine = engine::start(config, storage).await?;
    let outcome = carry_out(&engine, order).await;
    engine.shutdown.cancel();
    engine.storage.close().await;
    outcome
}

/// Gives the server a new key to sign with. It must not be running: it would go on with the old one.
///
/// # Errors
///
/// Why it could not be, for people.
pub(crate) async fn rotate_key(config: &Config) -> anyhow::Result<String> {
    if socket::answers(config) {
        anyhow::bail!("the server is running: stop it, and try again");
    }
    let storage = database::open(config).await?;
    let outcome = signing::rotate(&storage, &SystemClock).await;
    storage.close().await;
    let key_id = outcome?;
    Ok(format!(
        "The server signs with {key_id} from now on. The keys until now are published as old.\n"
    ))
}

async fn carry_out(engine: &Engine, order: Order) -> anyhow::Result<String> {
    match order {
        Order::CreateUser { name, password, admin } => {
            let user = admin::create_user(engine, &name, Some(password), admin).await?;
            Ok(format!("Made the account {user}."))
        }
        Order::ResetPassword { name, password } => {
            let user = UserId::parse(users::named(engine, &name).await?.user_id)?;
            users::set_password(engine, &user, password, true).await?;
            Ok(format!("Gave {name} another password and ended all sessions."))
        }
        Order::ExportUser { name, directory } => export::export(engine, &name, &directory).await,
        Order::ListReports { limit } => {
            let reports = reports::newest(engine, limit).await?;
            let lines = reports.iter().map(serde_json::to_string);
            Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        Order::Users(order) => orders::about_users(engine, order).await,
        Order::Rooms(order) => orders::about_rooms(engine, order).await,
        Order::Media(order) => media::about(engine, order).await,
        Order::Tokens(order) => orders::about_tokens(engine, order).await,
        Order::Servers(order) => orders::about_servers(engine, order).await,
        Order::Notice { name, text } => orders::notice(engine, &name, &text).await,
        Order::ListExpired => orders::expired(engine).await,
    }
}
