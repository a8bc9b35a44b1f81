//! What the engine refuses to who creates rooms, says things in them, comes and goes.

use starling_engine::{
    ask::AskError,
    rooms::{
        aliases::ResolveError,
        create::CreateError,
        delayed::{DelayError, ManageError},
        directory::{DirectoryError, PublishError},
        membership::{MembershipError, SetStateError, threepid::ThreepidError},
        mutual::MutualError,
        naming::AliasError,
        networks::ListError,
        policy::PolicyError,
        send::SendError,
        upgrade::UpgradeError,
    },
    spaces::hierarchy::HierarchyError,
};

use super::Error;

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotInRoom => Self::forbidden("You are not in this room"),
            SendError::Forbidden(reason) => Self::forbidden(reason),
            SendError::BadContent(reason) => Self::bad_json(reason),
            SendError::TooLarge => Self::too_large("The event is too large"),
            SendError::OwnOnly => Self::user_suspended(),
            SendError::GuestsForbidden => guests_forbidden(),
            SendError::NoSuchEvent => Self::not_found("There is no such event"),
            SendError::MalformedAlias(reason) => Self::invalid_param(reason),
            SendError::BadAlias(_) => Self::bad_alias(error.to_string()),
            SendError::NoThreadRoot => Self::unknown(error.to_string()),
            SendError::DuplicateAnnotation => Self::duplicate_annotation(error.to_string()),
            SendError::NameTaken => Self::room_in_use(),
            SendError::Policy(error) => error.into(),
            SendError::Internal(cause) => cause.into(),
        }
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Refused { status, errcode, message } => {
                Self::new(status, &errcode, message)
            }
            PolicyError::Unavailable => {
                Self::remote_failed("The policy server of this room does not answer")
            }
            PolicyError::Internal(cause) => cause.into(),
        }
    }
}

impl From<DelayError> for Error {
    fn from(error: DelayError) -> Self {
        match error {
            DelayError::Disabled => Self::forbidden("This server sends no events later"),
            DelayError::NoDelay => Self::invalid_param(error.to_string()),
            DelayError::TooLong(longest_ms) => Self::max_delay_exceeded(longest_ms),
            DelayError::TooMany => Self::max_delayed_events_exceeded(),
            DelayError::NotInRoom => Self::forbidden("You are not in this room"),
            DelayError::TooLarge => Self::too_large("The event is too large"),
            DelayError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ManageError> for Error {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::NotFound => Self::not_found("There is no such delayed event"),
            ManageError::Refused(error) => (*error).into(),
            ManageError::Internal(cause) => cause.into(),
        }
    }
}

impl From<MembershipError> for Error {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::UnknownRoom => Self::not_found("There is no such room"),
            MembershipError::Forbidden(reason) => Self::forbidden(reason),
            MembershipError::BadContent(reason) => Self::bad_json(reason),
            MembershipError::TooLarge => Self::too_large("The event is too large"),
            MembershipError::UnableToAuthorise => Self::unable_to_authorise_join(),
            MembershipError::IncompatibleVersion(version) => {
                Self::incompatible_room_version(version)
            }
            MembershipError::GuestsForbidden => guests_forbidden(),
            MembershipError::UnsupportedThere => Self::unsupported_there(),
            MembershipError::InviteBlocked => Self::invite_blocked(),
            MembershipError::ServerNotices => Self::server_notices(),
            MembershipError::Policy(error) => error.into(),
            MembershipError::StillInRoom => Self::unknown("You are still in this room"),
            MembershipError::RemoteFailed(reason) => {
                tracing::info!(reason, "Other servers did not help");
                Self::remote_failed("No other server that is in the room could help")
            }
            MembershipError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ThreepidError> for Error {
    fn from(error: ThreepidError) -> Self {
        match error {
            ThreepidError::Malformed(reason) => Self::invalid_param(reason),
            ThreepidError::Refused(errcode) if errcode == "M_TERMS_NOT_SIGNED" => {
                Self::terms_not_signed()
            }
            ThreepidError::Refused(errcode) => {
                tracing::info!(errcode, "An identity server refused");
                Self::forbidden("The identity server refuses this")
            }
            ThreepidError::Unreachable(reason) => {
                tracing::info!(reason, "An identity server did not help");
                Self::remote_failed("The identity server did not help")
            }
            ThreepidError::Membership(error) => error.into(),
        }
    }
}

impl From<SetStateError> for Error {
    fn from(error: SetStateError) -> Self {
        match error {
            SetStateError::Send(error) => error.into(),
            SetStateError::Membership(error) => error.into(),
        }
    }
}

impl From<CreateError> for Error {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::UnsupportedVersion => Self::unsupported_room_version(),
            CreateError::BadAlias(reason) => Self::invalid_param(reason),
            CreateError::AliasTaken => Self::room_in_use(),
            CreateError::InviteBlocked => Self::invite_blocked(),
            CreateError::TooMuch(reason) => Self::too_large(reason),
            CreateError::BadContent(reason) => Self::bad_json(reason),
            CreateError::InvalidState(reason) => Self::invalid_room_state(reason),
            CreateError::Internal(cause) => cause.into(),
        }
    }
}

impl From<UpgradeError> for Error {
    fn from(error: UpgradeError) -> Self {
        match error {
            UpgradeError::UnsupportedVersion => Self::unsupported_room_version(),
            UpgradeError::Forbidden(reason) => Self::forbidden(reason),
            UpgradeError::TooMuch(reason) => Self::too_large(reason),
            UpgradeError::InvalidState(reason) => Self::invalid_room_state(reason),
            UpgradeError::Incomplete => Self::not_yet_known(error.to_string()),
            UpgradeError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ListError> for Error {
    fn from(error: ListError) -> Self {
        match error {
            ListError::UnknownRoom => Self::not_found("There is no such room"),
            ListError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ResolveError> for Error {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NoAnswer => Self::request_timeout(error.to_string()),
            ResolveError::Internal(cause) => cause.into(),
        }
    }
}

impl From<AliasError> for Error {
    fn from(error: AliasError) -> Self {
        match error {
            AliasError::Malformed(reason) => Self::invalid_param(reason),
            AliasError::Taken => Self::alias_taken(),
            AliasError::Exclusive => Self::exclusive(error.to_string()),
            AliasError::Unknown => Self::not_found("There is no such alias"),
            AliasError::Forbidden => Self::forbidden("You may not do this"),
            AliasError::Internal(cause) => cause.into(),
        }
    }
}

impl From<DirectoryError> for Error {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::BadToken => Self::invalid_param(error.to_string()),
            DirectoryError::Internal(cause) => cause.into(),
        }
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::UnknownRoom => Self::not_found("There is no such room"),
            PublishError::Forbidden => Self::forbidden("You may not do this"),
            PublishError::Internal(cause) => cause.into(),
        }
    }
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Self {
        tracing::info!(%error, "Another server did not help");
        Self::remote_failed("The other server could not help")
    }
}

fn guests_forbidden() -> Error {
    Error::guest_access_forbidden("Guests are not let in here")
}

impl From<HierarchyError> for Error {
    fn from(error: HierarchyError) -> Self {
        match error {
            HierarchyError::Forbidden => Self::forbidden("You may not view this room"),
            HierarchyError::BadToken => Self::invalid_param(
                "`from` is unknown or too old, or `suggested_only` or `max_depth` has changed",
            ),
            HierarchyError::Internal(cause) => cause.into(),
        }
    }
}

impl From<MutualError> for Error {
    fn from(error: MutualError) -> Self {
        match error {
            MutualError::OwnId => Self::invalid_param("`user_id` is your own"),
            MutualError::BadToken => Self::invalid_param("`from` is not a token of this list"),
            MutualError::Internal(cause) => cause.into(),
        }
    }
}
