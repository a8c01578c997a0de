//! Workflows: how they are named and run.

use core::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::failure::Result;

/// A workflow that can be exported and called with its own types; made by `#[workflow]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no workflow",
    label = "put `#[workflow]` on the function"
)]
pub trait Workflow: 'static {
    /// What it takes.
    type Input: DeserializeOwned;
    /// What it gives.
    type Output: Serialize;
    /// The name that it is started by, 1 to 200 bytes.
    const NAME: &'static str;
    /// What it does, for a person to read.
    const DESCRIPTION: &'static str;

    /// JSON Schema of the input as text, if its type has one.
    #[must_use]
    fn input_schema() -> Option<String> {
        None
    }

    /// JSON Schema of the output as text, if its type has one.
    #[must_use]
    fn output_schema() -> Option<String> {
        None
    }

    /// The workflow's code.
    fn run(
        ctx: Context,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output>> + 'static;
}
