//! What goes wrong, as data: failures, and the error that gathers them for `?`.

use core::fmt;
use std::borrow::Cow;
use std::error::Error as StdError;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::workflow::wfhost::durable::types;

/// What a workflow, an activity or a helper of theirs returns: see [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Words that the host and this crate use as [`Failure::kind`].
pub mod kind {
    /// An error without a kind of its own.
    pub const ERROR: &str = "error";
    /// The instance was asked to cancel, or what it waited for was cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// The input does not fit the type that the workflow, activity, update or query takes.
    pub const INVALID_INPUT: &str = "invalid-input";
    /// A result does not fit the type that the caller asked for, or cannot be written as JSON.
    pub const INVALID_OUTPUT: &str = "invalid-output";
    /// An event does not fit the type that the workflow waits for, or a payload cannot be written as JSON.
    pub const INVALID_PAYLOAD: &str = "invalid-payload";
    /// A value in the state store does not fit the type that was asked for, or cannot be written as JSON.
    pub const INVALID_STATE: &str = "invalid-state";
    /// A conditional write found another version. Its details are `{"found": version}`, 0 for no value.
    pub const VERSION_MISMATCH: &str = "version-mismatch";
    /// A [`Saga`](crate::Saga) failed, and so did what was to undo its steps.
    pub const COMPENSATION_FAILED: &str = "compensation-failed";
    /// The module has no workflow of that name.
    pub const UNKNOWN_WORKFLOW: &str = "unknown-workflow";
    /// The module has no activity of that name.
    pub const UNKNOWN_ACTIVITY: &str = "unknown-activity";
    /// The workflow answers no update of that name.
    pub const UNKNOWN_UPDATE: &str = "unknown-update";
    /// The workflow answers no query of that name.
    pub const UNKNOWN_QUERY: &str = "unknown-query";
}

/// Why something failed: recorded in the history, and handed to whoever waits.
///
/// This is what a call resolves to when it did not succeed, and what an author makes to fail
/// in a way that a caller can match on:
///
/// ```
/// use wfhost_sdk::{Failure, Result};
///
/// fn take(left: u32) -> Result<u32> {
///     if left == 0 {
///         return Err(Failure::new("sold-out", "no cars left").not_retryable().into());
///     }
///     Ok(left - 1)
/// }
/// assert_eq!(take(0).unwrap_err().kind(), "sold-out");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: Cow<'static, str>,
    message: String,
    retryable: bool,
    details: Option<String>,
}

impl Failure {
    /// A failure that another attempt may avoid, without details.
    pub fn new(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
            retryable: true,
            details: None,
        }
    }

    /// A failure made of any error, in the words of its whole chain: `cannot pay: card declined`.
    pub fn of(kind: impl Into<Cow<'static, str>>, error: impl Into<Error>) -> Self {
        let mut failure = error.into().into_failure();
        failure.kind = kind.into();
        failure
    }

    /// No retry follows, whatever the caller's retry policy says.
    #[must_use]
    pub fn not_retryable(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// Adds a value for the caller to read. One that cannot be written as JSON is left out.
    #[must_use]
    pub fn with_details(mut self, details: &(impl Serialize + ?Sized)) -> Self {
        self.details = serde_json::to_string(details).ok();
        self
    }

    /// A stable word to match on, such as `sold-out`; [`kind`] lists those of the host.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// For a person to read.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Whether this is the request to cancel, or something that was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.kind == kind::CANCELLED
    }

    /// The details, if there are any and they fit `T`.
    pub fn details<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.details.as_deref()?).ok()
    }

    /// The details as JSON text.
    pub fn details_json(&self) -> Option<&str> {
        self.details.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {}

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        Self {
            kind: Cow::Owned(failure.kind),
            message: failure.message,
            retryable: failure.retryable,
            details: failure.details,
        }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            kind: failure.kind.into_owned(),
            message: failure.message,
            retryable: failure.retryable,
            details: failure.details,
        }
    }
}

/// Ends this generation of the workflow and starts the next: see
/// [`Context::continue_as_new`](crate::Context::continue_as_new).
///
/// It travels as an error, so that `return` and `?` carry it out of the workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    pub(crate) input: String,
    pub(crate) current_module: bool,
}

impl Continuation {
    /// Goes on with the module that the workflow's name means now, not with this one.
    #[must_use]
    pub fn on_current_module(mut self) -> Self {
        self.current_module = true;
        self
    }
}

impl fmt::Display for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("continue as new")
    }
}

impl StdError for Continuation {}

/// Any error on its way out of a workflow or an activity.
///
/// `?` turns every [`std::error::Error`] into it, as with `anyhow`; for that reason it is not
/// itself one. What becomes of the error is decided at once, and can be read through it, as it
/// derefs to [`Failure`]:
///
/// - the message is the error and its sources, joined by `: `;
/// - kind, details and whether a retry may help come from the first [`Failure`] among the error
///   and its sources; without one the kind is `error` and a retry may help.
///
/// An `anyhow::Error` is no [`std::error::Error`] either. A workflow or an activity may return
/// `anyhow::Result<T>`, or a `Result` with any other error, as it is: see [`Classify`] for an
/// error that brings its own kind. Inside a function that returns [`Result`], `Error::msg` takes
/// what `?` cannot.
#[derive(Clone)]
pub struct Error {
    failure: Failure,
    continuation: Option<Continuation>,
}

impl Error {
    /// An error made of [`Failure::new`].
    pub fn new(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Failure::new(kind, message).into()
    }

    /// An error of kind `error` made of anything that can be shown, an `anyhow::Error` too.
    pub fn msg(message: impl fmt::Display) -> Self {
        // The alternate form is the whole chain for anyhow and its like.
        Failure::new(kind::ERROR, format!("{message:#}")).into()
    }

    /// What is recorded of this error.
    pub fn into_failure(self) -> Failure {
        self.failure
    }

    /// Whether it carries no failure, but the next generation.
    pub(crate) fn is_continuation(&self) -> bool {
        self.continuation.is_some()
    }

    pub(crate) fn into_parts(self) -> (Failure, Option<Continuation>) {
        (self.failure, self.continuation)
    }

    pub(crate) fn of_chain(error: &(dyn StdError + 'static)) -> Self {
        let chain = || core::iter::successors(Some(error), |error| (**error).source());
        let continuation = chain().find_map(|error| error.downcast_ref::<Continuation>());
        let failure = chain().find_map(|error| error.downcast_ref::<Failure>());
        let mut messages = chain().map(ToString::to_string);
        let mut message = messages.next().unwrap_or_default();
        for source in messages {
            // Many errors show their source in their own message already.
            if !message.ends_with(&source) {
                message.push_str(": ");
                message.push_str(&source);
            }
        }
        let failure = match failure {
            Some(failure) => Failure {
                message,
                ..failure.clone()
            },
            None => Failure::new(kind::ERROR, message),
        };
        Self {
            failure,
            continuation: continuation.cloned(),
        }
    }
}

impl<E: StdError + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::of_chain(&error)
    }
}

impl core::ops::Deref for Error {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.failure
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.failure.kind, self.failure.message)
    }
}

/// Gives the values of an error type their own kind, so that callers can match on it.
///
/// It is used when the workflow or activity returns the type itself:
///
/// ```
/// use wfhost_sdk::{ActivityContext, Classify, activity};
///
/// #[derive(Debug, thiserror::Error)]
/// enum PaymentError {
///     #[error("the card was declined")]
///     Declined,
///     #[error("the bank does not answer")]
///     Unreachable(#[from] std::io::Error),
/// }
///
/// impl Classify for PaymentError {
///     fn kind(&self) -> &str {
///         match self {
///             PaymentError::Declined => "declined",
///             PaymentError::Unreachable(_) => "bank-unreachable",
///         }
///     }
///     fn is_retryable(&self) -> bool {
///         matches!(self, PaymentError::Unreachable(_))
///     }
/// }
///
/// #[activity]
/// fn pay(_ctx: ActivityContext, amount: u64) -> Result<(), PaymentError> {
///     if amount > 1_000 { Err(PaymentError::Declined) } else { Ok(()) }
/// }
/// ```
///
/// Elsewhere, [`classified`] makes the [`Failure`].
pub trait Classify: StdError + 'static {
    /// A stable word to match on.
    fn kind(&self) -> &str;

    /// Whether another attempt may succeed; true unless said otherwise.
    fn is_retryable(&self) -> bool {
        true
    }

    /// A JSON value for the caller to read.
    fn details(&self) -> Option<serde_json::Value> {
        None
    }
}

/// The failure that an error describes through [`Classify`].
pub fn classified(error: &impl Classify) -> Failure {
    let mut failure = Error::of_chain(error).into_failure();
    failure.kind = Cow::Owned(error.kind().to_owned());
    failure.retryable = error.is_retryable();
    failure.details = error
        .details()
        .map(|details| details.to_string())
        .or(failure.details);
    failure
}

/// Names the kind of a failed result on its way through `?`.
///
/// ```
/// use wfhost_sdk::{Result, ResultExt as _};
///
/// fn parse(quantity: &str) -> Result<u32> {
///     Ok(quantity.parse::<u32>().kind("bad-quantity")?)
/// }
/// assert_eq!(parse("ten").unwrap_err().kind(), "bad-quantity");
/// ```
pub trait ResultExt<T> {
    /// The same result, its error as a [`Failure`] of this kind.
    ///
    /// # Errors
    /// When the result was one.
    fn kind(self, kind: impl Into<Cow<'static, str>>) -> Result<T, Failure>;
}

impl<T, E: Into<Error>> ResultExt<T> for Result<T, E> {
    fn kind(self, kind: impl Into<Cow<'static, str>>) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(kind, error))
    }
}

/// What a workflow or an activity may return: a `Result` with any error.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a workflow or an activity returns a `Result`, not `{Self}`",
    label = "return `wfhost_sdk::Result<…>`, `anyhow::Result<…>` or any other `Result`"
)]
pub trait Outcome {
    /// The value of success.
    type Value;
}

impl<T, E> Outcome for core::result::Result<T, E> {
    type Value = T;
}

/// Turns whatever error type a function returns into [`Error`], by the technique that `anyhow`
/// uses in its own macros: method resolution takes the first of these that fits `&&&&of(&error)`.
#[doc(hidden)]
pub mod convert {
    use super::{Classify, Error, StdError, classified};
    use core::fmt::Display;
    use core::marker::PhantomData;

    pub struct Type<E>(PhantomData<E>);

    pub fn of<E>(_: &E) -> Type<E> {
        Type(PhantomData)
    }

    pub trait ByKind<E> {
        fn convert(&self, error: E) -> Error;
    }
    impl<E: Classify> ByKind<E> for &&&Type<E> {
        fn convert(&self, error: E) -> Error {
            classified(&error).into()
        }
    }

    pub trait ByFrom<E> {
        fn convert(&self, error: E) -> Error;
    }
    impl<E: Into<Error>> ByFrom<E> for &&&&Type<E> {
        fn convert(&self, error: E) -> Error {
            error.into()
        }
    }

    pub trait ByChain<E> {
        fn convert(&self, error: E) -> Error;
    }
    impl<E: AsRef<dyn StdError>> ByChain<E> for &&Type<E> {
        fn convert(&self, error: E) -> Error {
            Error::of_chain(error.as_ref())
        }
    }

    pub trait BySendChain<E> {
        fn convert(&self, error: E) -> Error;
    }
    impl<E: AsRef<dyn StdError + Send + Sync>> BySendChain<E> for &Type<E> {
        fn convert(&self, error: E) -> Error {
            Error::of_chain(error.as_ref())
        }
    }

    pub trait ByText<E> {
        fn convert(&self, error: E) -> Error;
    }
    impl<E: Display> ByText<E> for Type<E> {
        fn convert(&self, error: E) -> Error {
            Error::msg(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::convert::{
        ByChain as _, ByFrom as _, ByKind as _, BySendChain as _, ByText as _, of,
    };
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot pay")]
    struct CannotPay(#[source] Failure);

    #[derive(Debug, thiserror::Error)]
    #[error("declined")]
    struct Declined;

    impl Classify for Declined {
        fn kind(&self) -> &str {
            "declined"
        }
        fn is_retryable(&self) -> bool {
            false
        }
    }

    fn sold_out() -> Failure {
        Failure::new("sold-out", "none left")
            .not_retryable()
            .with_details(&[1, 2])
    }

    macro_rules! converted {
        ($error:expr) => {{
            let error = $error;
            (&&&&of(&error)).convert(error)
        }};
    }

    #[test]
    fn question_mark_keeps_kind_and_details_of_a_failure_within() {
        let failure = Error::from(CannotPay(sold_out())).into_failure();
        assert_eq!(
            failure,
            Failure {
                message: "cannot pay: none left".into(),
                ..sold_out()
            }
        );
        assert_eq!(failure.details(), Some([1, 2]));
        let foreign = Error::from("x".parse::<u8>().unwrap_err());
        assert_eq!(
            format!("{foreign:?}"),
            "error: invalid digit found in string"
        );
    }

    #[test]
    fn every_error_type_that_a_function_may_return_is_converted() {
        use anyhow::Context as _;

        assert_eq!(converted!(sold_out()).into_failure(), sold_out());
        assert_eq!(
            converted!(Error::from(sold_out())).into_failure(),
            sold_out()
        );
        assert_eq!(
            converted!(Declined).into_failure(),
            Failure::new("declined", "declined").not_retryable()
        );
        let wrapped = Err::<(), _>(sold_out()).context("outer").unwrap_err();
        let expected = Failure {
            message: "outer: none left".into(),
            ..sold_out()
        };
        assert_eq!(converted!(wrapped).into_failure(), expected);
        assert_eq!(
            converted!(anyhow::anyhow!("plain")).into_failure(),
            Failure::new("error", "plain")
        );
        let boxed: Box<dyn StdError + Send + Sync> = "text".into();
        assert_eq!(
            converted!(boxed).into_failure(),
            Failure::new("error", "text")
        );
        assert_eq!(
            converted!("text").into_failure(),
            Failure::new("error", "text")
        );
        assert_eq!(
            converted!(String::from("text")).into_failure(),
            Failure::new("error", "text")
        );
    }

    #[test]
    fn a_continuation_survives_being_wrapped() {
        let continuation = Continuation {
            input: "1".into(),
            current_module: true,
        };
        let error = anyhow::Error::from(continuation.clone()).context("on the way out");
        assert_eq!(converted!(error).into_parts().1, Some(continuation));
    }
}
