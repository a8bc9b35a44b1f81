//! One application service: what its registration says, and whom and what it is about.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#registration>

use std::fmt;

use regex::{Regex, RegexBuilder};
use ruma::{OwnedServerName, OwnedUserId, RoomAliasId, RoomId, ServerName, UserId};
use url::Url;

/// How long a regular expression may be, in bytes.
const LONGEST_REGEX: usize = 4 * 1024;

/// How large a compiled one may be, in bytes.
const LARGEST_REGEX: usize = 1 << 20;

/// How long an ID, a token or a name may be, in bytes.
const LONGEST: usize = 255;

/// How many namespaces of one kind, or protocols, there may be.
const MOST: usize = 1000;

/// A registration, as it was written down.
#[derive(Clone, Default)]
pub struct Registration {
    /// The name of the application service, which never changes.
    pub id: String,
    /// Where it listens; `None`: it is sent nothing.
    pub url: Option<String>,
    /// By which it proves to this server who it is.
    pub as_token: String,
    /// By which this server proves to it who it is.
    pub hs_token: String,
    /// The name of its own user.
    pub sender_localpart: String,
    /// Whether it is sent typing, receipts, presence and messages to devices of its users.
    pub receive_ephemeral: bool,
    /// Whether it is sent what its users' encryption needs.
    pub encrypts: bool,
    /// Whether what its users do, beside its own, is limited.
    pub rate_limited: bool,
    /// The networks that it leads to.
    pub protocols: Vec<String>,
    /// Which users it is about.
    pub users: Vec<Claimed>,
    /// Which aliases.
    pub aliases: Vec<Claimed>,
    /// Which rooms.
    pub rooms: Vec<Claimed>,
}

/// A namespace, as it was written down.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// What it includes: what begins with something that this regular expression matches.
    pub regex: String,
    /// Whether nobody else may make anything in it.
    pub exclusive: bool,
}

/// What is wrong with a registration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RegistrationError(String);

/// A namespace that can be asked.
struct Namespace {
    regex: Regex,
    exclusive: bool,
}

/// A registered application service.
pub struct ApplicationService {
    /// Its name.
    pub id: String,
    /// Where it listens.
    pub url: Option<Url>,
    /// By which it proves who it is.
    pub(crate) as_token: String,
    /// By which this server does.
    pub(crate) hs_token: String,
    /// Its own user.
    pub sender: OwnedUserId,
    /// Whether it is sent typing, receipts, presence and messages to devices of its users.
    pub receive_ephemeral: bool,
    /// Whether its users encrypt by what it is sent: it is told of messages to their devices, of changed
    /// devices, and of the keys that they have left.
    ///
    /// <https://github.com/matrix-org/matrix-spec-proposals/pull/3202>
    pub encrypts: bool,
    /// The networks that it leads to.
    pub protocols: Vec<String>,
    rate_limited: bool,
    server_name: OwnedServerName,
    users: Vec<Namespace>,
    aliases: Vec<Namespace>,
    rooms: Vec<Namespace>,
}

impl fmt::Debug for ApplicationService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApplicationService({})", self.id)
    }
}

/// Of one deployment the ID says which.
impl PartialEq for ApplicationService {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for ApplicationService {}

impl ApplicationService {
    /// Reads a registration for a server.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`], in one line that names the key.
    pub fn new(
        registration: Registration,
        server_name: &ServerName,
    ) -> Result<Self, RegistrationError> {
        let Registration { id, url, as_token, hs_token, sender_localpart, .. } = registration;
        check_text("id", &id)?;
        check_text("as_token", &as_token)?;
        check_text("hs_token", &hs_token)?;
        if registration.protocols.len() > MOST {
            return Err(RegistrationError(format!("`protocols` names more than {MOST}")));
        }
        let url = url.filter(|url| !url.is_empty()).map(|url| check_url(&url)).transpose()?;
        Ok(Self {
            id,
            url,
            as_token,
            hs_token,
            sender: sender(&sender_localpart, server_name)?,
            receive_ephemeral: registration.receive_ephemeral,
            encrypts: registration.encrypts,
            protocols: registration.protocols,
            rate_limited: registration.rate_limited,
            server_name: server_name.to_owned(),
            users: namespaces("users", &registration.users)?,
            aliases: namespaces("aliases", &registration.aliases)?,
            rooms: namespaces("rooms", &registration.rooms)?,
        })
    }

    /// Whether a user is its own, or in one of its namespaces; only users of this server are.
    #[must_use]
    pub fn has_user(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name
            && (user_id == self.sender || is_in(&self.users, user_id.as_str()))
    }

    /// Whether it alone may make that user.
    #[must_use]
    pub fn keeps_user(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.server_name
            && (user_id == self.sender || is_kept(&self.users, user_id.as_str()))
    }

    /// Whether an alias is in one of its namespaces.
    #[must_use]
    pub fn has_alias(&self, alias: &RoomAliasId) -> bool {
        is_in(&self.aliases, alias.as_str())
    }

    /// Whether it alone may make that alias.
    #[must_use]
    pub fn keeps_alias(&self, alias: &RoomAliasId) -> bool {
        is_kept(&self.aliases, alias.as_str())
    }

    /// Whether it is about any aliases.
    #[must_use]
    pub fn has_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// Whether a room is in one of its namespaces.
    #[must_use]
    pub fn has_room(&self, room_id: &RoomId) -> bool {
        is_in(&self.rooms, room_id.as_str())
    }

    /// Whether what one of its users does is limited; what its own user does never is.
    #[must_use]
    pub fn limits(&self, user_id: &UserId) -> bool {
        self.rate_limited && user_id != self.sender
    }
}

fn is_in(namespaces: &[Namespace], text: &str) -> bool {
    namespaces.iter().any(|namespace| namespace.regex.is_match(text))
}

fn is_kept(namespaces: &[Namespace], text: &str) -> bool {
    namespaces.iter().any(|namespace| namespace.exclusive && namespace.regex.is_match(text))
}

/// IDs and tokens go into paths and headers.
fn check_text(key: &str, text: &str) -> Result<(), RegistrationError> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > LONGEST {
        format!("is longer than {LONGEST} bytes")
    } else if key != "id" && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has characters that no token may have".to_owned()
    } else {
        return Ok(());
    };
    Err(RegistrationError(format!("`{key}` {problem}")))
}

fn check_url(text: &str) -> Result<Url, RegistrationError> {
    let wrong = |reason: &str| RegistrationError(format!("`url` = {text:?} {reason}"));
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is no http or https address"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(wrong("has more than a host and a path"));
    }
    // What is asked stands below it.
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

fn sender(localpart: &str, server_name: &ServerName) -> Result<OwnedUserId, RegistrationError> {
    let wrong = || {
        RegistrationError(format!(
            "`sender_localpart` = {localpart:?} is not a user name (a-z, 0-9 and . _ = - / +)"
        ))
    };
    let is_legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._=-/+".contains(&c);
    let id = format!("@{localpart}:{server_name}");
    if localpart.is_empty() || !localpart.bytes().all(is_legal) || id.len() > LONGEST {
        return Err(wrong());
    }
    UserId::parse(id).map_err(|_| wrong())
}

fn namespaces(kind: &str, claimed: &[Claimed]) -> Result<Vec<Namespace>, RegistrationError> {
    if claimed.len() > MOST {
        return Err(RegistrationError(format!("`namespaces.{kind}` has more than {MOST} entries")));
    }
    claimed.iter().map(|claimed| namespace(kind, claimed)).collect()
}

/// The specification does not say whether an expression must match a whole ID. Registrations in use
/// rely on it that it must match from the beginning, and need not to the end.
fn namespace(kind: &str, claimed: &Claimed) -> Result<Namespace, RegistrationError> {
    let Claimed { regex, exclusive } = claimed;
    let wrong = |reason: &str| {
        RegistrationError(format!("`namespaces.{kind}`: the regex {regex:?} {reason}"))
    };
    if regex.is_empty() || regex.len() > LONGEST_REGEX {
        return Err(wrong(&format!("is empty or longer than {LONGEST_REGEX} bytes")));
    }
    // By itself first: a parenthesis too many must not end the group below.
    let compile = |text: &str| RegexBuilder::new(text).size_limit(LARGEST_REGEX).build();
    compile(regex)
        .and_then(|_| compile(&format!("^(?:{regex})")))
        .map(|regex| Namespace { regex, exclusive: *exclusive })
        .map_err(|error| {
            let reason = error.to_string();
            wrong(&format!("is none: {}", reason.lines().last().unwrap_or_default().trim()))
        })
}

#[cfg(test)]
mod tests {
    use ruma::{room_alias_id, room_id, server_name, user_id};

    use super::*;

    fn claimed(regex: &str, exclusive: bool) -> Vec<Claimed> {
        vec![Claimed { regex: regex.to_owned(), exclusive }]
    }

    fn registration() -> Registration {
        Registration {
            id: "irc".to_owned(),
            url: Some("http://127.0.0.1:9000/bridge".to_owned()),
            as_token: "a".to_owned(),
            hs_token: "h".to_owned(),
            sender_localpart: "irc_bot".to_owned(),
            rate_limited: true,
            users: claimed("@irc_.*:x\\.org", true),
            aliases: claimed("#irc_", false),
            rooms: claimed("!bridged:", false),
            ..Registration::default()
        }
    }

    fn read(registration: Registration) -> Result<ApplicationService, String> {
        ApplicationService::new(registration, server_name!("x.org")).map_err(|it| it.to_string())
    }

    #[test]
    fn namespaces_match_from_the_beginning() {
        let service = read(registration()).unwrap();
        assert!(service.has_user(user_id!("@irc_a:x.org")));
        assert!(service.keeps_user(user_id!("@irc_a:x.org")));
        assert!(service.has_user(user_id!("@irc_bot:x.org")), "its own user");
        assert!(!service.has_user(user_id!("@my_@irc_a:x.org")));
        assert!(!service.has_user(user_id!("@irc_a:y.org")), "of another server");
        assert!(service.has_alias(room_alias_id!("#irc_rust:x.org")));
        assert!(!service.keeps_alias(room_alias_id!("#irc_rust:x.org")));
        assert!(service.has_room(room_id!("!bridged:y.org")));
        assert!(!service.has_room(room_id!("!other:y.org")));
        assert_eq!(service.url.as_ref().unwrap().as_str(), "http://127.0.0.1:9000/bridge/");
    }

    #[test]
    fn an_alternative_does_not_escape_the_beginning() {
        let users = claimed("@a_.*|@b_.*", false);
        let service = read(Registration { users, ..registration() }).unwrap();
        assert!(service.has_user(user_id!("@b_x:x.org")));
        assert!(!service.has_user(user_id!("@c@b_x:x.org")));
    }

    #[test]
    fn patterns_of_namespaces_are_matched_in_bounded_time() {
        for regex in ["@(a+)+$", "@(a|aa)+$", "@(b*)*x", "@(a*)*(a*)*(a*)*y", "@(a*)*(a*)*"] {
            let service =
                read(Registration { users: claimed(regex, false), ..registration() }).unwrap();
            let user = format!("@{}:x.org", "a".repeat(240));
            let user = <&UserId>::try_from(user.as_str()).unwrap();
            let begun = std::time::Instant::now();
            assert_eq!(service.has_user(user), !regex.contains(['x', 'y', '$']));
            assert!(begun.elapsed().as_secs() < 5, "{regex}: {:?}", begun.elapsed());
        }
        let large = claimed("@(((a{50}){50}){50}){50}", false);
        assert!(read(Registration { users: large, ..registration() }).is_err());
    }

    #[test]
    fn only_its_own_user_is_never_limited() {
        let service = read(registration()).unwrap();
        assert!(service.limits(user_id!("@irc_a:x.org")));
        assert!(!service.limits(user_id!("@irc_bot:x.org")));
        let free = read(Registration { rate_limited: false, ..registration() }).unwrap();
        assert!(!free.limits(user_id!("@irc_a:x.org")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |change: &dyn Fn(&mut Registration), key: &str| {
            let mut registration = registration();
            change(&mut registration);
            let error = read(registration).unwrap_err();
            assert!(error.contains(key), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        };
        wrong(&|it| it.id.clear(), "`id`");
        wrong(&|it| it.as_token.clear(), "`as_token`");
        wrong(&|it| it.hs_token = "a b".to_owned(), "`hs_token`");
        wrong(&|it| it.sender_localpart = "Bot".to_owned(), "`sender_localpart`");
        wrong(&|it| it.sender_localpart = "a".repeat(250), "`sender_localpart`");
        for url in ["nowhere", "ftp://x", "http://a@x/", "http://x/?a"] {
            wrong(&|it| it.url = Some(url.to_owned()), "`url`");
        }
        for regex in ["", "@(", "@a)|(?:.*", "a{1000}{1000}{1000}", &"a".repeat(5_000)] {
            wrong(&|it| it.users = claimed(regex, false), "`namespaces.users`");
        }
        assert!(read(Registration { url: Some(String::new()), ..registration() }).is_ok());
    }

    #[test]
    fn tokens_are_not_shown() {
        let registration = Registration { as_token: "hunter2".to_owned(), ..registration() };
        assert!(!format!("{:?}", read(registration).unwrap()).contains("hunter2"));
    }
}
