//! Spaces: rooms that list other rooms, and what may be known of rooms from outside.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#spaces>
//!
//! Reading order: [`child`] (one line of a space), [`summary`] (what this server knows of a room),
//! [`stripped`] (what invites say of theirs), [`access`] (who may know it), [`remote`] (what other servers say), [`look`] (both together),
//! [`hierarchy`] and [`overview`] (for clients), [`serve`] (for servers).

pub mod child;

pub mod summary;

pub mod stripped;

pub mod access;

pub mod remote;

pub mod look;

pub mod hierarchy;

pub mod overview;

pub mod serve;

use crate::rooms::per_version::PerVersion;

/// What this process remembers about rooms from outside.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(crate) own: PerVersion<summary::Outside>,
    pub(crate) told: remote::Told,
    pub(crate) walks: hierarchy::Walks,
}

impl Default for Memory {
    fn default() -> Self {
        let (told, walks) = (remote::Told::default(), hierarchy::Walks::default());
        Self { own: summary::memory(), told, walks }
    }
}

#[cfg(test)]
mod tests;
