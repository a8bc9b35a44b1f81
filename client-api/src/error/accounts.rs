//! What the engine's accounts refuse.

use std::time::Duration;

use starling_engine::accounts::{
    admin::BySecretError,
    attempts::AttemptError,
    data::SetError,
    deactivate::DeactivateError,
    devices::{RemoveError, RenameError},
    emails::{RequestError, SubmitError},
    login::LoginError,
    login_tokens::IssueError,
    masquerade::MasqueradeError,
    moderation::ModerationError,
    names::NameError,
    password::SetPasswordError,
    profiles::{ProfileError, SetFieldError},
    register::RegisterError,
    reports::ReportError,
    threepids::AddError,
    tokens::{AuthenticateError, RefreshError},
    uia::UiaError,
};

use super::Error;

/// When it is worth trying again after the queue for passwords was full.
const PASSWORDS_BUSY: Duration = Duration::from_secs(2);

impl From<AuthenticateError> for Error {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Unknown => Self::unknown_token(false),
            AuthenticateError::Expired => Self::unknown_token(true),
            AuthenticateError::Internal(cause) => cause.into(),
        }
    }
}

impl From<MasqueradeError> for Error {
    fn from(error: MasqueradeError) -> Self {
        match error {
            MasqueradeError::NoUser => Self::invalid_param("This is no user"),
            MasqueradeError::NotItsOwn | MasqueradeError::Unregistered => {
                Self::forbidden(error.to_string())
            }
            MasqueradeError::Deactivated => Self::user_deactivated(),
            MasqueradeError::UnknownDevice => Self::unknown_device(),
            MasqueradeError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ModerationError> for Error {
    fn from(error: ModerationError) -> Self {
        match error {
            ModerationError::NotAdmin => Self::forbidden("You do not administer this server"),
            ModerationError::NotLocal => Self::invalid_param("The user is of another server"),
            ModerationError::NotFound => Self::not_found("There is no such user"),
            ModerationError::OtherAdmin => Self::forbidden("This user administers this server too"),
            ModerationError::OwnAccount => Self::forbidden("This is your own account"),
            ModerationError::Internal(cause) => cause.into(),
        }
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Disabled => Self::threepid_denied("This server sends no e-mail"),
            RequestError::NotAllowed => Self::threepid_denied(error.to_string()),
            RequestError::BadAddress | RequestError::BadSecret | RequestError::BadLink => {
                Self::invalid_param(error.to_string())
            }
            RequestError::InUse => Self::threepid_in_use(),
            RequestError::NotFound => Self::threepid_not_found(),
            RequestError::NotSent => Self::remote_failed("The letter could not be sent"),
            RequestError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Expired => Self::session_expired(),
            SubmitError::Wrong => Self::token_incorrect(),
            SubmitError::Internal(cause) => cause.into(),
        }
    }
}

impl From<AddError> for Error {
    fn from(error: AddError) -> Self {
        match error {
            AddError::BadAddress => Self::invalid_param(error.to_string()),
            AddError::NotValidated => Self::threepid_auth_failed(),
            AddError::InUse => Self::threepid_in_use(),
            AddError::TooMany => Self::threepid_denied(error.to_string()),
            AddError::UsedUp => session_used(),
            AddError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ReportError> for Error {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::NotFound => Self::not_found(error.to_string()),
            ReportError::Internal(cause) => cause.into(),
        }
    }
}

impl From<RefreshError> for Error {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Unknown => Self::unknown_token(false),
            RefreshError::Locked => Self::user_locked(),
            RefreshError::Internal(cause) => cause.into(),
        }
    }
}

impl From<AttemptError> for Error {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::TooMany(wait) => Self::limit_exceeded(wait),
            AttemptError::Internal(cause) => cause.into(),
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Invalid => Self::invalid_username(
                "A user name consists of a-z, 0-9 and . _ = - / + and is not too long",
            ),
            NameError::Taken => Self::user_in_use(),
            NameError::Exclusive => Self::exclusive("This name is kept for an application service"),
            NameError::Internal(cause) => cause.into(),
        }
    }
}

impl From<UiaError> for Error {
    fn from(error: UiaError) -> Self {
        match error {
            UiaError::Changed => Self::forbidden("The operation changed during its authentication"),
            UiaError::OtherUser => Self::forbidden("This is not your account"),
            UiaError::TooLarge => Self::too_large(error.to_string()),
            UiaError::Locked => Self::user_locked(),
            UiaError::Busy => Self::limit_exceeded(PASSWORDS_BUSY),
            UiaError::Internal(cause) => cause.into(),
        }
    }
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Name(error) => error.into(),
            RegisterError::BadPassword => bad_password(),
            RegisterError::BadDevice => bad_device(),
            RegisterError::EmailInUse => Self::threepid_in_use(),
            RegisterError::UsedUp => Self::forbidden("The token or the session has been used"),
            RegisterError::Busy => Self::limit_exceeded(PASSWORDS_BUSY),
            RegisterError::Internal(cause) => cause.into(),
        }
    }
}

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::forbidden("User name or password is wrong"),
            LoginError::Deactivated => Self::user_deactivated(),
            LoginError::Locked => Self::user_locked(),
            LoginError::Exclusive => Self::exclusive(error.to_string()),
            LoginError::BadDevice => bad_device(),
            LoginError::Busy => Self::limit_exceeded(PASSWORDS_BUSY),
            LoginError::Internal(cause) => cause.into(),
        }
    }
}

impl From<RenameError> for Error {
    fn from(error: RenameError) -> Self {
        match error {
            RenameError::NotFound => Self::not_found("There is no such device"),
            RenameError::TooLong => bad_device(),
            RenameError::Internal(cause) => cause.into(),
        }
    }
}

impl From<IssueError> for Error {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::UsedUp => session_used(),
            IssueError::Internal(cause) => cause.into(),
        }
    }
}

impl From<RemoveError> for Error {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::UsedUp => session_used(),
            RemoveError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SetPasswordError> for Error {
    fn from(error: SetPasswordError) -> Self {
        match error {
            SetPasswordError::BadPassword => bad_password(),
            SetPasswordError::UsedUp => session_used(),
            SetPasswordError::Busy => Self::limit_exceeded(PASSWORDS_BUSY),
            SetPasswordError::Internal(cause) => cause.into(),
        }
    }
}

impl From<DeactivateError> for Error {
    fn from(error: DeactivateError) -> Self {
        match error {
            DeactivateError::NotFound => Self::user_deactivated(),
            DeactivateError::UsedUp => session_used(),
            DeactivateError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::NotFound => Self::not_found("There is no such user"),
            ProfileError::LogInFirst => Self::missing_token(),
            ProfileError::NotShown => Self::forbidden("You may not look at this profile"),
            ProfileError::RemoteFailed => {
                Self::remote_failed("The user's server did not answer with a profile")
            }
            ProfileError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SetFieldError> for Error {
    fn from(error: SetFieldError) -> Self {
        match error {
            SetFieldError::BadName => Self::invalid_param("No profile field is called so"),
            SetFieldError::NameTooLong => Self::key_too_large(),
            SetFieldError::BadValue(reason) => Self::bad_json(reason),
            SetFieldError::TooLarge => Self::profile_too_large(),
            SetFieldError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SetError> for Error {
    fn from(error: SetError) -> Self {
        match error {
            SetError::ServerControlled(kind) => {
                Self::written_elsewhere(format!("{kind} is not set through this address"))
            }
            SetError::BadName => Self::invalid_param("The name is empty or longer than 255 bytes"),
            SetError::NotInRoom => Self::forbidden("You are not in this room"),
            SetError::TooMuch => Self::too_large("There is too much already"),
            SetError::Internal(cause) => cause.into(),
        }
    }
}

impl From<BySecretError> for Error {
    fn from(error: BySecretError) -> Self {
        match error {
            BySecretError::Disabled => Self::not_in_use("No registration secret is set"),
            BySecretError::UnknownNonce => Self::unknown("The nonce is not valid"),
            BySecretError::WrongMac => Self::forbidden("The mac is wrong"),
            BySecretError::Register(error) => error.into(),
            BySecretError::Internal(cause) => cause.into(),
        }
    }
}

fn session_used() -> Error {
    Error::forbidden("The session has been used")
}

fn bad_password() -> Error {
    Error::weak_password("A password has 1 to 512 bytes")
}

fn bad_device() -> Error {
    Error::invalid_param("The device's id or name is empty or longer than 255 bytes")
}
