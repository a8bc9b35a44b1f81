//! The command line.

use std::{
    io::{self, BufRead as _, Write as _},
    path::{self, PathBuf},
};

use clap::{Args, Parser, Subcommand};

use starling_engine::rng;

use crate::{
    admin::{MediaOrder, Order, RoomOrder, ServerOrder, TokenOrder, UserOrder},
    app, backup,
    config::{self, Config, ConfigError},
};

/// A federated Matrix homeserver.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until it is told to stop.
    Serve(Source),
    /// Administer accounts and rooms, while the server runs or not.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Say step by step how a server is found (well-known, SRV, addresses, TLS, version, keys), and
    /// whether it and this server hear each other.
    Doctor {
        /// The server name. Without one, this server is looked at as others see it.
        server: Option<String>,
        /// Examine all that this server has stored instead: the database file, hashes and signatures of
        /// events, order and states of rooms, files. Nothing is changed; the server may run meanwhile.
        #[arg(long, conflicts_with = "server")]
        deep: bool,
        #[command(flatten)]
        source: Source,
    },
    /// Back up all that the server has stored, and restore it.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Print or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Copy database and files into a directory, while the server runs or not.
    Create {
        /// The directory, which must not exist yet.
        directory: PathBuf,
        #[command(flatten)]
        source: Source,
    },
    /// Say whether a backup is whole and undamaged.
    Verify {
        /// The directory.
        directory: PathBuf,
    },
    /// Make a backup the data of a server that has none yet.
    Restore {
        /// The directory.
        directory: PathBuf,
        #[command(flatten)]
        source: Source,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a configuration file with every setting, its documentation and its default.
    Example,
    /// Say what is wrong with the configuration, if anything is.
    Check(Source),
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Make an account. Without --password-stdin a password is made up and printed.
    CreateUser {
        #[command(flatten)]
        account: Account,
        /// The account administers this server.
        #[arg(long)]
        admin: bool,
    },
    /// Give an account another password and end its sessions. Without --password-stdin a password
    /// is made up and printed.
    ResetPassword {
        #[command(flatten)]
        account: Account,
    },
    /// Write what the server knows about a user into a directory: account, profile, devices, account data,
    /// addresses, rooms and the events that the user sent.
    ExportUser {
        /// The user id, or the part of it before the colon.
        name: String,
        /// The directory, which must not exist yet.
        directory: PathBuf,
        #[command(flatten)]
        source: Source,
    },
    /// Look at accounts, lock, suspend and close them.
    Users {
        #[command(subcommand)]
        order: UserOrder,
        #[command(flatten)]
        source: Source,
    },
    /// Look at rooms, remove and block them.
    Rooms {
        #[command(subcommand)]
        order: RoomOrder,
        #[command(flatten)]
        source: Source,
    },
    /// Look at files, hold them back and remove them.
    Media {
        #[command(subcommand)]
        order: MediaOrder,
        #[command(flatten)]
        source: Source,
    },
    /// Make and remove tokens by which people register.
    Tokens {
        #[command(subcommand)]
        order: TokenOrder,
        #[command(flatten)]
        source: Source,
    },
    /// Look at how sending to other servers goes.
    Servers {
        #[command(subcommand)]
        order: ServerOrder,
        #[command(flatten)]
        source: Source,
    },
    /// Give the server a new key to sign with, while it is stopped; the old one is published as such.
    RotateKey {
        #[command(flatten)]
        source: Source,
    },
    /// Say something to a user in the name of the server, where `server_notices` are set up.
    Notice {
        /// The name or the user id.
        name: String,
        /// What is said.
        text: String,
        #[command(flatten)]
        source: Source,
    },
    /// Show which rooms have messages that are older than their policy and the settings in
    /// `retention` allow, and how many; remove nothing. One JSON object on each line.
    Expired {
        #[command(flatten)]
        source: Source,
    },
    /// Show what users have reported, the newest first: one JSON object on each line.
    Reports {
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        source: Source,
    },
}

/// Whose password is set, and to what.
#[derive(Args, Debug)]
struct Account {
    /// The part of the user id before the colon.
    name: String,
    /// Read the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    source: Source,
}

/// Where the configuration comes from, beside the environment.
#[derive(Args, Clone, Debug)]
pub(crate) struct Source {
    /// The configuration file (TOML). Without one, the defaults are used.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The data directory, instead of the configured one.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

impl Source {
    /// Reads the configuration, anew with every call.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let mut config = config::load(self.config.as_deref(), config::process_environment())?;
        if let Some(directory) = &self.data {
            config.data_dir.clone_from(directory);
        }
        Ok(config)
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(source) => app::run(source),
        Command::Admin(command) => administer(command),
        Command::Doctor { deep: true, source, .. } => app::examine_stored(&source.load()?),
        Command::Doctor { server, source, .. } => app::examine(&source.load()?, server.as_deref()),
        Command::Backup(command) => back_up(command),
        Command::Config(ConfigCommand::Example) => print(&config::example()),
        Command::Config(ConfigCommand::Check(source)) => {
            let config = source.load()?;
            config.appservices.load(&config.server_name)?;
            print("The configuration is right.\n")
        }
    }
}

fn administer(command: AdminCommand) -> anyhow::Result<()> {
    match command {
        AdminCommand::CreateUser { account, admin } => {
            set_password(account, |name, password| Order::CreateUser { name, password, admin })
        }
        AdminCommand::ResetPassword { account } => {
            set_password(account, |name, password| Order::ResetPassword { name, password })
        }
        AdminCommand::ExportUser { name, directory, source } => {
            // A server that runs has another working directory.
            let directory = path::absolute(directory)?;
            let answer = app::order(&source.load()?, Order::ExportUser { name, directory })?;
            print(&format!("{answer}\n"))
        }
        AdminCommand::RotateKey { source } => print(&app::rotate_key(&source.load()?)?),
        AdminCommand::Reports { limit, source } => have_done(&source, Order::ListReports { limit }),
        AdminCommand::Users { order, source } => have_done(&source, Order::Users(order)),
        AdminCommand::Rooms { order, source } => have_done(&source, Order::Rooms(order)),
        AdminCommand::Media { order, source } => have_done(&source, Order::Media(order)),
        AdminCommand::Tokens { order, source } => have_done(&source, Order::Tokens(order)),
        AdminCommand::Servers { order, source } => have_done(&source, Order::Servers(order)),
        AdminCommand::Notice { name, text, source } => {
            have_done(&source, Order::Notice { name, text })
        }
        AdminCommand::Expired { source } => have_done(&source, Order::ListExpired),
    }
}

fn back_up(command: BackupCommand) -> anyhow::Result<()> {
    let said = match command {
        BackupCommand::Create { directory, source } => {
            let config = source.load()?;
            app::beside(&config, backup::create(&config, &directory))?
        }
        BackupCommand::Verify { directory } => {
            tokio::runtime::Runtime::new()?.block_on(backup::verify(&directory))?
        }
        BackupCommand::Restore { directory, source } => {
            let config = source.load()?;
            app::beside(&config, backup::restore(&config, &directory))?
        }
    };
    print(&format!("{said}\n"))
}

/// Has an order carried out, and prints what there is to say about it.
fn have_done(source: &Source, order: Order) -> anyhow::Result<()> {
    let said = app::order(&source.load()?, order)?;
    print(&if said.is_empty() { said } else { format!("{said}\n") })
}

/// Has an order carried out that gives an account a password.
fn set_password(
    account: Account,
    order: impl FnOnce(String, String) -> Order,
) -> anyhow::Result<()> {
    let (config, password) = (account.source.load()?, account.password()?);
    let made_up = (!account.password_stdin).then(|| format!("The password is {password}\n"));
    let answer = app::order(&config, order(account.name, password))?;
    print(&format!("{answer}\n{}", made_up.unwrap_or_default()))
}

impl Account {
    fn password(&self) -> anyhow::Result<String> {
        if !self.password_stdin {
            return Ok(rng::token::<15>());
        }
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let password = line.trim_end_matches(['\r', '\n']);
        anyhow::ensure!(!password.is_empty(), "there is no password on standard input");
        Ok(password.to_owned())
    }
}

/// Writes to standard output; a reader that has gone away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids and tokens are drawn from an alphabet with `-`, which is not to be taken for an option.
    #[test]
    fn what_begins_with_a_hyphen_can_be_named() {
        for order in [
            &["rooms", "status", "-id"][..],
            &["tokens", "remove", "-token"],
            &["users", "remove-device", "alice", "-DEVICE"],
        ] {
            let words = ["starling", "admin"].into_iter().chain(order.iter().copied());
            assert!(Cli::try_parse_from(words).is_ok(), "{order:?}");
        }
    }
}
