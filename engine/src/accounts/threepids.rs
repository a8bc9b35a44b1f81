//! Third-party identifiers: the e-mail addresses by which this server knows its users.
//!
//! Telephone numbers are not taken, and nothing is bound at identity servers.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information>

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId};
use starling_storage::{
    Change, Claim, CommitError,
    accounts::{
        self,
        threepids::{self as rows, ThreepidRow, Write},
    },
};

pub use starling_storage::accounts::threepids::ThreepidRow as Threepid;

use super::{
    emails::{self, Credentials, Purpose, Validated},
    uia::{Named, Proof},
};
use crate::{Engine, Internal};

/// The medium of e-mail addresses.
pub const EMAIL: &str = "email";

/// How long an address may be, in bytes (RFC 5321, section 4.5.3.1).
const LONGEST_ADDRESS: usize = 254;

/// How long its first part may be.
const LONGEST_LOCALPART: usize = 64;

/// How long each part of a domain may be (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// How many addresses an account may have.
const MOST: usize = 50;

/// The canonical form of an e-mail address; `None` for what is none.
///
/// <https://spec.matrix.org/v1.19/appendices/#e-mail>
#[must_use]
pub fn canonical_email(given: &str) -> Option<String> {
    let address = given.trim().to_lowercase();
    let (local, domain) = address.rsplit_once('@')?;
    let is_strange = |c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c);
    let is_atom = |atom: &str| !atom.is_empty() && !atom.contains(is_strange);
    let is_local = local.len() <= LONGEST_LOCALPART && local.split('.').all(is_atom);
    let in_domain = |c: char| c.is_alphanumeric() || c == '-';
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(in_domain)
    };
    let is_address = is_local && domain.split('.').all(is_label);
    (is_address && address.len() <= LONGEST_ADDRESS).then_some(address)
}

/// The addresses of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn list(engine: &Engine, user: &UserId) -> Result<Vec<Threepid>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::of_user(&mut conn, user.as_str()).await?)
}

/// Whose an e-mail address is; it must be in its canonical form.
///
/// # Errors
///
/// When the database fails.
pub async fn owner(engine: &Engine, address: &str) -> Result<Option<OwnedUserId>, Internal> {
    let mut conn = engine.storage.read().await?;
    let owner = rows::owner(&mut conn, EMAIL, address).await?;
    Ok(owner.map(UserId::parse).transpose()?)
}

/// Whom somebody means who logs in by a third-party identifier.
pub(super) async fn meant(engine: &Engine, medium: &str, address: &str) -> Result<Named, Internal> {
    let Some(address) = canonical_email(address).filter(|_| medium == EMAIL) else {
        return Ok(Named::default());
    };
    let owner = owner(engine, &address).await?;
    Ok(Named { user: owner.map(String::from).unwrap_or_default(), email: Some(address) })
}

/// Why an address is not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is no address.
    #[error("this is not an e-mail address")]
    BadAddress,
    /// The address is not validated, or that is long ago.
    #[error("the address is not validated")]
    NotValidated,
    /// Somebody else has it.
    #[error("the address belongs to another account")]
    InUse,
    /// The account has as many as it may have.
    #[error("the account has {MOST} addresses already")]
    TooMany,
    /// The session was used by another request meanwhile.
    #[error("the session has been used")]
    UsedUp,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Adds an address that was validated to an account.
///
/// # Errors
///
/// [`AddError`].
pub async fn add(
    engine: &Engine,
    user: &UserId,
    credentials: &Credentials,
    proof: &Proof,
) -> Result<(), AddError> {
    let validated = emails::validated(engine, credentials, Purpose::Add).await?;
    let validated = validated.ok_or(AddError::NotValidated)?;
    if owner(engine, &validated.address).await?.is_some_and(|owner| owner != user) {
        return Err(AddError::InUse);
    }
    if list(engine, user).await?.len() >= MOST {
        return Err(AddError::TooMany);
    }
    let mut change = Change::new();
    proof.claim(engine, &mut change);
    validated.claim(&mut change);
    // An account that is closed meanwhile keeps no address.
    change.claim(Claim::Password { user_id: user.to_string(), hash: None });
    claim(engine, &mut change, user, &validated);
    match engine.storage.commit(change).await {
        Ok(_) => Ok(()),
        Err(CommitError::UsedUp) => Err(AddError::UsedUp),
        Err(error) => Err(Internal::from(error).into()),
    }
}

/// Adds to `change` that a validated address is that user's.
pub(crate) fn claim(engine: &Engine, change: &mut Change, user: &UserId, validated: &Validated) {
    let (address, now_ts) = (&validated.address, engine.clock.now_ms());
    change.claim(Claim::Threepid(row(user, address, validated.validated_ts, now_ts)));
}

/// Gives an account these addresses in place of those that it has, on the word of an administrator.
///
/// # Errors
///
/// [`AddError`]; nothing was changed.
pub(crate) async fn replace(
    engine: &Engine,
    user: &UserId,
    given: &[String],
) -> Result<(), AddError> {
    let wanted: Option<BTreeSet<String>> = given.iter().map(|it| canonical_email(it)).collect();
    let wanted = wanted.ok_or(AddError::BadAddress)?;
    if wanted.len() > MOST {
        return Err(AddError::TooMany);
    }
    let mut change = Change::new();
    change.claim(Claim::Password { user_id: user.to_string(), hash: None });
    let has = list(engine, user).await?;
    for address in wanted.iter().filter(|it| has.iter().all(|has| has.address != **it)) {
        if owner(engine, address).await?.is_some() {
            return Err(AddError::InUse);
        }
        let now_ts = engine.clock.now_ms();
        change.claim(Claim::Threepid(row(user, address, now_ts, now_ts)));
    }
    for Threepid { medium, address, user_id, .. } in has {
        if !wanted.contains(&address) {
            change.write(accounts::Write::Threepid(Write::Remove { medium, address, user_id }));
        }
    }
    match engine.storage.commit(change).await {
        Ok(_) => Ok(()),
        Err(CommitError::UsedUp) => Err(AddError::InUse),
        Err(error) => Err(Internal::from(error).into()),
    }
}

fn row(user: &UserId, address: &str, validated_ts: i64, added_ts: i64) -> ThreepidRow {
    ThreepidRow {
        medium: EMAIL.to_owned(),
        address: address.to_owned(),
        user_id: user.to_string(),
        validated_ts,
        added_ts,
    }
}

/// Removes an address of an account; one that it does not have is removed already.
///
/// # Errors
///
/// When the server fails.
pub async fn remove(
    engine: &Engine,
    user: &UserId,
    medium: &str,
    address: &str,
) -> Result<(), Internal> {
    let address = canonical_email(address).unwrap_or_else(|| address.to_owned());
    let mut change = Change::new();
    let (medium, user_id) = (medium.to_owned(), user.to_string());
    change.write(accounts::Write::Threepid(Write::Remove { medium, address, user_id }));
    engine.storage.commit(change).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::canonical_email;

    #[test]
    fn addresses_have_one_form() {
        assert_eq!(canonical_email(" Alice@Example.ORG ").as_deref(), Some("alice@example.org"));
        assert_eq!(canonical_email("a+b.c@x").as_deref(), Some("a+b.c@x"));
        assert_eq!(canonical_email("ä@müller.example").as_deref(), Some("ä@müller.example"));
        for wrong in [
            "",
            "alice",
            "@example.org",
            "alice@",
            "alice@example..org",
            "alice@-example.org",
            "alice@example-.org",
            "a..b@example.org",
            ".a@example.org",
            "a.@example.org",
            "a b@example.org",
            "a@b@example.org",
            "<alice@example.org>",
            "alice@example.org\r\nBcc: x@example.org",
            "alice\n@example.org",
        ] {
            assert_eq!(canonical_email(wrong), None, "{wrong:?}");
        }
        assert_eq!(canonical_email(&format!("{}@x", "a".repeat(65))), None);
        assert_eq!(canonical_email(&format!("a@{}", "b".repeat(64))), None);
        assert_eq!(canonical_email(&format!("a@{}b", "b.".repeat(126))), None);
    }
}
