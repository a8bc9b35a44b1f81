//! The command line.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app,
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
    /// Print or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print a configuration file with every setting, its documentation and its default.
    Example,
    /// Say what is wrong with the configuration, if anything is.
    Check(Source),
}

/// Where the configuration comes from, beside the environment.
#[derive(Args, Clone, Debug)]
pub(crate) struct Source {
    /// The configuration file (TOML). Without one, the defaults are used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory, instead of the configured one.
    #[arg(long, value_name = "DIR")]
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
        Command::Config(ConfigCommand::Example) => print(&config::example()),
        Command::Config(ConfigCommand::Check(source)) => {
            source.load()?;
            print("The configuration is right.\n")
        }
    }
}

/// Writes to standard output; a reader that has gone away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
