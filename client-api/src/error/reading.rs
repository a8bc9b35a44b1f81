//! What the engine refuses to readers, and of what they say they have read or type.

use starling_engine::{
    reading::{
        access::ReadError, filter::BadFilter, subscriptions::SubscribeError, token::BadToken,
    },
    rooms::{receipts::ReceiptError, typing::TypingError},
    search::find::SearchError,
    sync::{filters::StoreFilterError, sliding::SlidingError},
};

use super::Error;

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Forbidden => Self::forbidden("You are not in this room"),
            ReadError::NoSuchEvent => Self::not_found("There is no such event"),
            ReadError::Incomplete => Self::not_yet_known(error.to_string()),
            ReadError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SubscribeError> for Error {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::NoSuchThread => Self::not_found("There is no such thread"),
            SubscribeError::NotInThread => Self::not_in_thread(),
            SubscribeError::LeftSince => Self::conflicting_unsubscription(),
            SubscribeError::TooMany => Self::forbidden(error.to_string()),
            SubscribeError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SlidingError> for Error {
    fn from(error: SlidingError) -> Self {
        match error {
            SlidingError::UnknownPos => Self::unknown_pos(),
            SlidingError::Internal(cause) => cause.into(),
        }
    }
}

impl From<BadToken> for Error {
    fn from(error: BadToken) -> Self {
        Self::invalid_param(error.to_string())
    }
}

impl From<BadFilter> for Error {
    fn from(error: BadFilter) -> Self {
        Self::bad_json(error.to_string())
    }
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::BadToken(_) | SearchError::TooLong => {
                Self::invalid_param(error.to_string())
            }
            SearchError::Internal(cause) => cause.into(),
        }
    }
}

impl From<StoreFilterError> for Error {
    fn from(error: StoreFilterError) -> Self {
        match error {
            StoreFilterError::Bad(error) => error.into(),
            StoreFilterError::TooMany => Self::forbidden(error.to_string()),
            StoreFilterError::Internal(cause) => cause.into(),
        }
    }
}

impl From<ReceiptError> for Error {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::NotJoined => Self::forbidden("You are not in this room"),
            ReceiptError::UnknownEvent => Self::not_found("The room has no such event"),
            ReceiptError::BadThread(_) => Self::invalid_param(error.to_string()),
            ReceiptError::Internal(cause) => cause.into(),
        }
    }
}

impl From<TypingError> for Error {
    fn from(error: TypingError) -> Self {
        match error {
            TypingError::NotJoined => Self::forbidden("You are not in this room"),
            TypingError::Internal(cause) => cause.into(),
        }
    }
}
