//! What the engine refuses to administrators.

use starling_engine::admin::{
    delete::DeleteError, history::PurgeError, members::MemberError, notices::NoticeError,
    tokens::TokenError, users::UserError,
};

use super::Error;

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NotOurs => Self::invalid_param("The user is not of this server"),
            UserError::NotFound => Self::not_found("There is no such user"),
            UserError::Own => Self::invalid_param("You cannot do this to yourself"),
            UserError::OtherAdmin => Self::forbidden("This user administers this server too"),
            UserError::Threepids(error) => error.into(),
            UserError::Contradiction(reason) => Self::invalid_param(reason),
            UserError::Password(error) => error.into(),
            UserError::Register(error) => error.into(),
            UserError::Profile(error) => error.into(),
            UserError::Internal(cause) => cause.into(),
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotFound => Self::not_found("There is no such registration token"),
            TokenError::Taken => Self::invalid_param("There is such a registration token already"),
            TokenError::Invalid(reason) => Self::invalid_param(reason),
            TokenError::Internal(cause) => cause.into(),
        }
    }
}

impl From<DeleteError> for Error {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::UnknownRoom => Self::not_found("There is no such room"),
            DeleteError::Underway => Self::unknown("The room is being removed already"),
            DeleteError::NotOurs => Self::invalid_param("The user is not of this server"),
            DeleteError::Internal(cause) => cause.into(),
        }
    }
}

impl From<PurgeError> for Error {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::NotFound => Self::not_found("There is no such room or event"),
            PurgeError::Underway => Self::unknown("History of this room is being removed already"),
            PurgeError::Internal(cause) => cause.into(),
        }
    }
}

impl From<MemberError> for Error {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::NotOurs => Self::invalid_param("The user is not of this server"),
            MemberError::UnknownRoom => Self::not_found("There is no such room"),
            MemberError::Powerless => {
                Self::unknown("Nobody of this server who is in the room has the power for it")
            }
            MemberError::Membership(error) => error.into(),
            MemberError::Send(error) => error.into(),
            MemberError::Internal(cause) => cause.into(),
        }
    }
}

impl From<NoticeError> for Error {
    fn from(error: NoticeError) -> Self {
        match error {
            NoticeError::Off => Self::unknown("Server notices are not set up on this server"),
            NoticeError::NotOurs => Self::invalid_param("The user is not of this server"),
            NoticeError::NotFound => Self::not_found("There is no such user"),
            NoticeError::NameTaken => {
                Self::unknown("The name under which the server speaks belongs to somebody")
            }
            NoticeError::Send(error) => error.into(),
            NoticeError::Internal(cause) => cause.into(),
        }
    }
}
