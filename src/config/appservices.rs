//! The `appservices` section, and the registration files that it names.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#registration>

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use ruma::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_engine::appservices::{
    ApplicationService, ApplicationServices, Claimed, Registration,
};

/// How large a registration file may be, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// The `appservices` section.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Appservices {
    /// Registration files of application services (bridges and bots), in YAML, such as
    /// `/etc/starling/irc.yaml`. Each is as its application service has written it.
    ///
    /// They hold secrets: nobody but this server and the application service should be able to read
    /// them. Relative paths start at the working directory. `id`, `as_token` and `sender_localpart`
    /// must differ between them. Regular expressions match from the beginning of an ID, and need not to
    /// its end; look-around and back-references are not known.
    pub(crate) files: Vec<PathBuf>,
}

/// A registration file. Of its keys the specification knows these; application services keep others
/// there for themselves.
#[derive(Deserialize)]
struct File {
    id: String,
    url: Option<String>,
    as_token: String,
    hs_token: String,
    sender_localpart: String,
    namespaces: Namespaces,
    /// Since specification v1.13.
    receive_ephemeral: Option<bool>,
    /// The same before.
    #[serde(rename = "de.sorunome.msc2409.push_ephemeral")]
    unstable_push_ephemeral: Option<bool>,
    #[serde(rename = "org.matrix.msc3202")]
    encrypts: Option<bool>,
    rate_limited: Option<bool>,
    protocols: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Namespaces {
    users: Option<Vec<Namespace>>,
    aliases: Option<Vec<Namespace>>,
    rooms: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    regex: String,
    exclusive: bool,
}

impl Appservices {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in one line that names the file.
    pub(crate) fn load(&self, server_name: &ServerName) -> anyhow::Result<ApplicationServices> {
        let services = self.files.iter().map(|path| {
            let service = read(path, server_name);
            service.with_context(|| format!("the registration file {}", path.display()))
        });
        let services = services.collect::<anyhow::Result<Vec<_>>>()?;
        ApplicationServices::new(services).context("`appservices.files`")
    }
}

fn read(path: &Path, server_name: &ServerName) -> anyhow::Result<ApplicationService> {
    ensure!(fs::metadata(path)?.len() <= LARGEST_FILE, "is larger than {LARGEST_FILE} bytes");
    parse(&fs::read_to_string(path)?, server_name)
}

fn parse(text: &str, server_name: &ServerName) -> anyhow::Result<ApplicationService> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        // What follows the first line shows the text around, which holds the tokens.
        let error = error.without_snippet().to_string();
        anyhow::anyhow!("{}", error.lines().next().unwrap_or_default().to_owned())
    })?;
    Ok(ApplicationService::new(file.into(), server_name)?)
}

impl From<File> for Registration {
    fn from(file: File) -> Self {
        Self {
            id: file.id,
            url: file.url,
            as_token: file.as_token,
            hs_token: file.hs_token,
            sender_localpart: file.sender_localpart,
            receive_ephemeral: file
                .receive_ephemeral
                .or(file.unstable_push_ephemeral)
                .unwrap_or(false),
            encrypts: file.encrypts.unwrap_or(false),
            rate_limited: file.rate_limited.unwrap_or(true),
            protocols: file.protocols.unwrap_or_default(),
            users: claimed(file.namespaces.users),
            aliases: claimed(file.namespaces.aliases),
            rooms: claimed(file.namespaces.rooms),
        }
    }
}

fn claimed(namespaces: Option<Vec<Namespace>>) -> Vec<Claimed> {
    let claimed = |Namespace { regex, exclusive }| Claimed { regex, exclusive };
    namespaces.unwrap_or_default().into_iter().map(claimed).collect()
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;

    const COMPLETE: &str = r#"
id: "IRC Bridge"
url: "http://127.0.0.1:1234"
as_token: "30c05ae90a248a41"
hs_token: 312df522183efd404ec1cd22d2ffa4bb
sender_localpart: "_irc_bot"
rate_limited: false
de.sorunome.msc2409.push_ephemeral: true
org.example.own: [1, 2]
protocols: ["irc"]
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_bridge_.*"
  aliases: []
  rooms:
"#;

    fn one(text: &str) -> Result<ApplicationService, String> {
        parse(text, server_name!("x.org")).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_file_is_read_with_what_others_keep_in_it() {
        let service = one(COMPLETE).unwrap();
        assert_eq!(service.id, "IRC Bridge");
        assert_eq!(service.sender, "@_irc_bot:x.org");
        assert!(service.receive_ephemeral);
        assert!(service.keeps_user(user_id!("@_irc_bridge_a:x.org")));
        assert_eq!(service.protocols, ["irc"]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_and_no_token_is_shown() {
        for (from, to, named) in [
            ("id: \"IRC", "name: \"IRC", "id"),
            ("hs_token", "hs_tokn", "hs_token"),
            ("namespaces:", "name_spaces:", "namespaces"),
            ("exclusive: true", "exclusive: maybe", "bool"),
            ("@_irc_bridge_.*", "@_irc_bridge_(", "namespaces.users"),
            ("http://127.0.0.1:1234", "127.0.0.1", "url"),
            ("rate_limited: false", "id: again", "id"),
            ("  users:", " - users:", "line"),
        ] {
            let text = COMPLETE.replacen(from, to, 1);
            assert_ne!(text, COMPLETE);
            let error = one(&text).unwrap_err();
            assert!(error.contains(named), "{to}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(!error.contains("30c05ae90a248a41"), "{error}");
        }
    }

    #[test]
    fn files_are_named_in_what_is_wrong_with_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("irc.yaml");
        let load = |files: Vec<PathBuf>| {
            let services = Appservices { files }.load(server_name!("x.org"));
            services.map(|it| it.iter().count()).map_err(|error| format!("{error:#}"))
        };
        assert!(load(vec![path.clone()]).unwrap_err().contains("irc.yaml"));
        fs::write(&path, COMPLETE).unwrap();
        assert_eq!(load(vec![path.clone()]), Ok(1));
        assert!(load(vec![path.clone(), path]).unwrap_err().contains("`id`"));
    }
}
